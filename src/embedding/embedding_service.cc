#include "embedding/embedding_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <utility>

namespace millrace {
namespace {

int64_t TokensFrom(const std::vector<EmbeddingText>& texts, size_t first) {
  int64_t tokens = 0;
  for (size_t i = first; i < texts.size(); ++i) tokens += std::ssize(texts[i].tokens);
  return tokens;
}

}  // namespace

EmbeddingService::EmbeddingService(std::unique_ptr<EmbeddingModel> model, int64_t max_queued_tokens)
    : model_(std::move(model)),
      max_queued_tokens_(max_queued_tokens),
      thread_([this] { Loop(); }) {}

EmbeddingService::~EmbeddingService() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

Status EmbeddingService::Submit(EmbeddingJob job, std::string_view name) {
  for (size_t i = 0; i < job.texts.size(); ++i) {
    const Status allowed = model_->Check(job.texts[i]);
    if (allowed.ok()) continue;
    return Error{fmt::format("{}[{}] {}.", name, i, allowed.error().message), allowed.error().kind};
  }
  const int64_t tokens = TokensFrom(job.texts, 0);
  auto waiting = std::make_shared<Waiting>();
  waiting->left = job.texts.size();
  waiting->out.resize(job.texts.size() * static_cast<size_t>(model_->outputs()));
  waiting->job = std::move(job);
  {
    std::lock_guard lock(mutex_);
    if (stats_.queued_tokens > 0 && stats_.queued_tokens + tokens > max_queued_tokens_) {
      return Error{"Too many texts wait for this model: try again later.", ErrorKind::kExhausted};
    }
    stats_.queued_tokens += tokens;
    waiting_.push_back(std::move(waiting));
  }
  wake_.notify_one();
  return {};
}

Result<std::vector<float>> EmbeddingService::Compute(std::vector<EmbeddingText> texts,
                                                     std::string_view name) {
  if (texts.empty()) return std::vector<float>();
  std::promise<Result<std::vector<float>>> promise;
  auto answer = promise.get_future();
  RETURN_IF_ERROR(Submit({.texts = std::move(texts),
                          .is_cancelled = {},
                          .done = [&](auto result) { promise.set_value(std::move(result)); }},
                         name));
  return answer.get();
}

EmbeddingStats EmbeddingService::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void EmbeddingService::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) break;
    const auto dropped = DropCancelled();
    const std::vector<Piece> batch = TakeBatch();
    lock.unlock();
    for (const auto& w : dropped) w->job.done(Error{"cancelled", ErrorKind::kExhausted});
    if (!batch.empty()) Run(batch);
    lock.lock();
  }
  const auto left = std::exchange(waiting_, {});
  lock.unlock();
  for (const auto& w : left)
    w->job.done(Error{"The server is stopping: try again later.", ErrorKind::kExhausted});
}

// Takes them out; they are still to be answered. Every job here has all its earlier texts computed.
std::vector<std::shared_ptr<EmbeddingService::Waiting>> EmbeddingService::DropCancelled() {
  std::vector<std::shared_ptr<Waiting>> dropped;
  std::erase_if(waiting_, [&](const std::shared_ptr<Waiting>& w) {
    if (!w->job.is_cancelled || !w->job.is_cancelled()) return false;
    stats_.queued_tokens -= TokensFrom(w->job.texts, w->next);
    dropped.push_back(w);
    return true;
  });
  return dropped;
}

std::vector<EmbeddingService::Piece> EmbeddingService::TakeBatch() {
  std::vector<Piece> batch;
  int64_t tokens = 0;
  while (!waiting_.empty() && std::ssize(batch) < model_->max_batch_texts()) {
    const std::shared_ptr<Waiting> front = waiting_.front();
    const int64_t more = std::ssize(front->job.texts[front->next].tokens);
    if (tokens + more > model_->max_batch_tokens()) break;
    tokens += more;
    batch.push_back({front, front->next++});
    waiting_.pop_front();
    if (front->next < front->job.texts.size()) waiting_.push_back(front);
  }
  stats_.queued_tokens -= tokens;
  stats_.tokens += tokens;
  stats_.texts += std::ssize(batch);
  if (!batch.empty()) ++stats_.batches;
  return batch;
}

void EmbeddingService::Run(const std::vector<Piece>& batch) {
  const auto n = static_cast<size_t>(model_->outputs());
  std::vector<const EmbeddingText*> texts;
  for (const Piece& piece : batch) texts.push_back(&piece.job->job.texts[piece.text]);
  std::vector<float> out(batch.size() * n);
  model_->Compute(texts, out);
  for (size_t i = 0; i < batch.size(); ++i) {
    Waiting& job = *batch[i].job;
    std::copy_n(out.begin() + static_cast<int64_t>(i * n), n,
                job.out.begin() + static_cast<int64_t>(batch[i].text * n));
    if (--job.left == 0) job.job.done(std::move(job.out));
  }
}

}  // namespace millrace
