#include "server/insights.h"

#include <algorithm>

namespace millrace::server_internal {
namespace {

SavingsSum SumOf(const Usage& usage) {
  SavingsSum sum;
  sum.requests = 1;
  sum.prompt_tokens = usage.prompt_tokens;
  sum.cached_tokens = usage.cached_tokens;
  sum.output_tokens = usage.completion_tokens;
  sum.drafted_tokens = usage.drafted_tokens;
  sum.accepted_tokens = usage.accepted_tokens;
  sum.computing_ms = usage.prefill_ms + usage.decode_ms;
  sum.queued_ms = usage.queued_ms;
  sum.cached_saved_ms = usage.cached_saved_ms;
  sum.speculation_saved_ms = usage.speculation_saved_ms;
  sum.dropped_passages = usage.dropped_passages;
  sum.dropped_passage_tokens = usage.dropped_passage_tokens;
  sum.reduction_saved_ms = usage.reduction_saved_ms;
  sum.reduction_ms = usage.reduction_ms;
  return sum;
}

void AddTo(SavingsSum& sum, const SavingsSum& more) {
  sum.requests += more.requests;
  sum.prompt_tokens += more.prompt_tokens;
  sum.cached_tokens += more.cached_tokens;
  sum.output_tokens += more.output_tokens;
  sum.drafted_tokens += more.drafted_tokens;
  sum.accepted_tokens += more.accepted_tokens;
  sum.computing_ms += more.computing_ms;
  sum.queued_ms += more.queued_ms;
  sum.cached_saved_ms += more.cached_saved_ms;
  sum.speculation_saved_ms += more.speculation_saved_ms;
  sum.dropped_passages += more.dropped_passages;
  sum.dropped_passage_tokens += more.dropped_passage_tokens;
  sum.reduction_saved_ms += more.reduction_saved_ms;
  sum.reduction_ms += more.reduction_ms;
}

}  // namespace

void Insights::Add(TimePoint now, const Usage& usage, const ServedRequest& served) {
  std::lock_guard lock(mutex_);
  AddTo(total_, SumOf(usage));
  recent_.push_back({now, SumOf(usage), served});
  while (recent_.size() > kMostRecent || now - recent_.front().at > kWindow) recent_.pop_front();
}

std::vector<ServedRequest> Insights::Served(TimePoint now, size_t most) const {
  std::lock_guard lock(mutex_);
  std::vector<ServedRequest> served;
  for (auto r = recent_.rbegin(); r != recent_.rend() && served.size() < most; ++r) {
    if (now - r->at <= kWindow) served.push_back(r->served);
  }
  std::reverse(served.begin(), served.end());
  return served;
}

std::string Insights::Json(TimePoint now, std::span<const RequestTimeEstimate> estimates) const {
  std::lock_guard lock(mutex_);
  SavingsSum lately;
  for (const Recent& r : recent_) {
    if (now - r.at <= kWindow) AddTo(lately, r.sum);
  }
  return InsightsJson(lately, Seconds(std::min<Duration>(kWindow, now - start_)), total_,
                      Seconds(now - start_), estimates);
}

}  // namespace millrace::server_internal
