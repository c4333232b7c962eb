// EmbeddingService: the thread that computes an EmbeddingModel, in batches made of all that waits.
//
// Invariant: every job that was accepted is answered exactly once. Jobs give a text in turn, so a
// batch holds texts of several jobs and a large job does not hold up a small one; the answers'
// bits do not depend on that (embedding_model.h).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.h"
#include "embedding/embedding_model.h"

namespace millrace {

struct EmbeddingJob {
  std::vector<EmbeddingText> texts;    // at least 1
  std::function<bool()> is_cancelled;  // may be empty; asked from the service's thread
  // Given [texts, outputs()], or an error (cancelled, or the service stops), on the service's
  // thread; must be quick and must not call the service.
  std::function<void(Result<std::vector<float>>)> done;
};

struct EmbeddingStats {
  int64_t texts = 0;   // computed so far
  int64_t tokens = 0;  // of those
  int64_t batches = 0;
  int64_t queued_tokens = 0;  // now
};

class EmbeddingService {
 public:
  // Over `max_queued_tokens` a job is refused, unless it would wait alone.
  explicit EmbeddingService(std::unique_ptr<EmbeddingModel> model,
                            int64_t max_queued_tokens = 1'000'000);
  // Ends after the batch under way; what waits is answered with an error.
  ~EmbeddingService();
  EmbeddingService(const EmbeddingService&) = delete;
  EmbeddingService& operator=(const EmbeddingService&) = delete;

  // Any thread. Refused, without an answer: a text that EmbeddingModel::Check refuses (the message
  // goes on from the name of the text, "input[3]"), a full queue (kExhausted). `name`: what the caller
  // calls a text.
  Status Submit(EmbeddingJob job, std::string_view name);
  // Submit, and wait for the answer. Not from `done`.
  Result<std::vector<float>> Compute(std::vector<EmbeddingText> texts, std::string_view name);

  const EmbeddingModel& model() const { return *model_; }
  EmbeddingStats stats() const;

 private:
  struct Waiting {
    EmbeddingJob job;
    std::vector<float> out;
    size_t next = 0;  // the first text that is in no batch yet
    size_t left = 0;  // texts without an answer
  };
  struct Piece {
    std::shared_ptr<Waiting> job;
    size_t text;
  };
  void Loop();
  std::vector<std::shared_ptr<Waiting>> DropCancelled();
  std::vector<Piece> TakeBatch();
  void Run(const std::vector<Piece>& batch);

  const std::unique_ptr<EmbeddingModel> model_;
  const int64_t max_queued_tokens_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Waiting>> waiting_;  // those with texts in no batch, the next first
  EmbeddingStats stats_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace millrace
