// ModelDrafter: a smaller model with the target's vocabulary says what comes next.
//
// Its keys and values lie in a store of its own whose blocks are the twins of the target's: block b
// of one holds the same positions as block b of the other. So the target's block tables, its pool,
// its prefix cache and its preemption serve both. Which positions of a twin are really computed is
// known by a tag per position, a hash of all tokens up to it: a block that was given to another
// sequence, came from disk or was never drafted for is noticed and computed when needed.
//
// It draws with the request's own sampler and seed, so that where the two models agree about the
// probabilities, they mostly agree about the token, at every temperature.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "model/model.h"
#include "paged_kv/kv_store.h"
#include "speculative_decoding/drafter.h"
#include "speculative_decoding/step_times.h"

namespace millrace {

// A draft model and the memory of its keys and values: as many blocks as the target has.
struct DraftModel {
  std::unique_ptr<Model> model;
  KvStore kv;
  int32_t context_length = 0;  // longest sequence that it can read
};

class ModelDrafter : public Drafter {
 public:
  // Rows that a call computes of sequences that it has not read yet; those that are not read to
  // their end get no draft in that call.
  static constexpr int32_t kReadRows = 256;

  // `vocab_size`: the target's. Ids that the draft model has beyond are never proposed.
  ModelDrafter(DraftModel draft, int32_t vocab_size);

  DrafterKind kind() const override { return DrafterKind::kModel; }
  void Draft(std::span<DraftTask* const> tasks) override;
  void Finish(RequestId, std::string_view, std::span<const TokenId>, int32_t) override;
  // Reads at most kReadRows rows of the sequences, and drafts nothing.
  void ReadOn(std::span<DraftTask* const> tasks);
  // The target's block was copied: so is its twin.
  void CopyBlock(BlockId from, BlockId to);

  // How many tokens of the sequence it has not read.
  int32_t Unread(const DraftTask& task);
  int32_t context_length() const { return draft_.context_length; }
  int64_t rows_computed() const { return rows_computed_; }
  Model& model() { return *draft_.model; }
  KvStore& kv() { return draft_.kv; }

 private:
  // The hashes of a sequence's beginnings, extended as it grows.
  struct Sequence {
    RequestId request;
    std::vector<uint64_t> hashes;
  };
  // A task on its way through the call.
  struct Running {
    DraftTask* task;
    std::vector<TokenId> tokens;  // the last known one and the draft
    uint64_t hash = 0;            // of all up to the last
    std::optional<Sampler> sampler;
    std::optional<OutputMatcher> matcher;
  };

  const std::vector<uint64_t>& HashesOf(const DraftTask& task);
  uint64_t& TagAt(const DraftTask& task, int32_t position);
  int32_t Known(const DraftTask& task, const std::vector<uint64_t>& hashes);
  bool Read(DraftTask& task, int32_t& rows, std::vector<Running>& running);
  void TakeTokens(std::vector<Running>& running, MatrixView<const float> logits);
  TokenId Choose(Running& running, std::span<const float> logits);
  void Continue(std::vector<Running>& running);

  DraftModel draft_;
  int32_t vocab_size_;
  std::vector<uint64_t> tags_;  // [blocks][kBlockTokens]; 0: nothing
  std::vector<Sequence> sequences_;
  std::vector<float> padded_;  // scratch: a row of logits over the target's vocabulary
  Batch batch_;
  int64_t rows_computed_ = 0;
};

}  // namespace millrace
