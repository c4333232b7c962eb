#include "server/counterfactual.h"

#include <algorithm>
#include <map>
#include <vector>

namespace millrace::server_internal {
namespace {

// The most that were there at once.
int32_t MostAtOnce(std::span<const ServedRequest> requests) {
  std::vector<std::pair<double, int32_t>> changes;
  for (const ServedRequest& r : requests) {
    changes.emplace_back(r.arrival_ms, 1);
    changes.emplace_back(r.arrival_ms + r.total_ms, -1);
  }
  std::sort(changes.begin(), changes.end());  // one that ends makes room for one that begins
  int32_t now = 0, most = 0;
  for (const auto& [at, change] : changes) most = std::max(most, now += change);
  return most;
}

SchedulerConfig ConfigOf(const SchedulerConfig& served, const Without& without) {
  SchedulerConfig config = served;
  config.max_draft = 0;
  if (without.continuous) config.batching = Batching::kStatic;
  if (without.paged) config.layout = KvLayout::kContiguous;
  return config;
}

class Replay {
 public:
  Replay(std::span<const ServedRequest> requests, const ServedBy& engine, const Without& without)
      : requests_(requests.begin(), requests.end()),
        engine_(engine),
        without_(without),
        most_at_once_(MostAtOnce(requests)),
        pool_(engine.blocks),
        scheduler_(ConfigOf(engine.scheduler, without), pool_) {
    std::stable_sort(requests_.begin(), requests_.end(),
                     [](const auto& a, const auto& b) { return a.arrival_ms < b.arrival_ms; });
  }

  std::optional<double> MeanMs() {
    for (int32_t step = 0; next_ < requests_.size() || !live_.empty(); ++step) {
      if (step == kMostSteps) return std::nullopt;
      if (live_.empty()) now_ms_ = std::max(now_ms_, requests_[next_].arrival_ms);
      TakeArrivals();
      Step();
    }
    return sum_ms_ / static_cast<double>(requests_.size());
  }

 private:
  struct Live {
    double began_ms = 0;
    int32_t choices = 1;
  };
  struct Choice {
    size_t request = 0;
    int32_t left = 0;  // steps
    bool decodes = false;
  };

  void TakeArrivals() {
    while (next_ < requests_.size() && requests_[next_].arrival_ms <= now_ms_ &&
           static_cast<int32_t>(live_.size()) < most_at_once_) {
      const ServedRequest& r = requests_[next_];
      live_[next_] = {.began_ms = now_ms_, .choices = r.choices};
      for (int32_t i = 0; i < r.choices; ++i) AddChoice(r, i);
      ++next_;
    }
  }

  void AddChoice(const ServedRequest& r, int32_t index) {
    const bool shares = !without_.prefix_cache && !without_.paged;
    // The other choices share the first one's prompt, where memory is shared.
    const int32_t cached = shares ? (index == 0 ? r.cached_tokens : r.prompt_tokens - 1) : 0;
    const int32_t room = engine_.blocks * kBlockTokens;
    const int32_t prompt = std::clamp(r.prompt_tokens - cached, 1, room - 2);
    const int32_t steps = std::clamp(r.output_steps / r.choices, 1, room - prompt - 1);
    const int32_t limit = static_cast<int32_t>(
        std::min<int64_t>(int64_t{prompt} + std::max(steps, r.max_tokens), room - 1));
    const RequestId id(number_++);
    choices_[id] = {.request = next_, .left = steps};
    scheduler_.Add(id, prompt, std::max(limit, prompt + steps + 1));
  }

  void Step() {
    const StepPlan plan = scheduler_.PlanStep();
    int32_t decode = 0, prefill = 0;
    std::vector<int32_t> appended;
    for (const Slice& slice : plan.slices) {
      (choices_.at(slice.request).decodes ? decode : prefill) += slice.count;
      appended.push_back(slice.samples ? 1 : 0);
    }
    const auto took = [&](double ms) { now_ms_ += ms * without_.step_factor; };
    const double begun = now_ms_;
    if (decode > 0) took(Milliseconds(engine_.cost.Decode(decode).value_or(Duration())));
    if (prefill > 0) took(Milliseconds(engine_.cost.Prefill(prefill).value_or(Duration())));
    scheduler_.Commit(plan, appended);
    scheduler_.Observe(plan, std::chrono::duration_cast<Duration>(
                                 std::chrono::duration<double, std::milli>(now_ms_ - begun)));
    for (const Slice& slice : plan.slices) {
      if (slice.samples) GiveToken(slice.request);
    }
  }

  void GiveToken(RequestId id) {
    Choice& choice = choices_.at(id);
    choice.decodes = true;
    if (--choice.left > 0) return;
    scheduler_.Remove(id);
    const size_t index = choice.request;
    const auto live = live_.find(index);
    choices_.erase(id);
    if (--live->second.choices > 0) return;
    sum_ms_ += now_ms_ - live->second.began_ms + requests_[index].outside_ms;
    live_.erase(live);
  }

  std::vector<ServedRequest> requests_;  // by arrival
  const ServedBy& engine_;
  const Without without_;
  const int32_t most_at_once_;
  BlockPool pool_;
  Scheduler scheduler_;
  std::map<size_t, Live> live_;  // by index
  std::map<RequestId, Choice> choices_;
  size_t next_ = 0;
  int64_t number_ = 0;
  double now_ms_ = 0;
  double sum_ms_ = 0;
};

}  // namespace

std::optional<double> MeanRequestMs(std::span<const ServedRequest> requests, const ServedBy& engine,
                                    const Without& without) {
  const bool measured = engine.cost.Decode(1) && engine.cost.Prefill(1);
  if (requests.empty() || !measured || engine.blocks < 2) return std::nullopt;
  return Replay(requests, engine, without).MeanMs();
}

}  // namespace millrace::server_internal
