// A prompt of 4,000 tokens arrives among 8 running streams: what it does to the intervals between
// their tokens, with chunks sized for the target and without any.
#include <fmt/format.h>

#include <algorithm>

#include "tests/scenarios/stage.h"

namespace millrace::scenarios {
namespace {

constexpr int32_t kStreams = 8;
constexpr int32_t kLong = 4000;
constexpr int32_t kWarm = 20;      // tokens of each stream before the prompt comes
constexpr int32_t kOutput = 2000;  // of each stream: more than the test waits for

struct Intervals {
  std::vector<double> before, during;  // seconds
  double first_token = 0;              // of the long prompt
};

Intervals Measure(Stage& stage, std::optional<Duration> target) {
  EngineConfig config;
  config.context_length = 8192;
  config.scheduler.max_running = kStreams + 1;
  config.scheduler.target_interval = target;
  config.scheduler.max_step_tokens = target ? 512 : 2 * kLong;
  config.scheduler.max_chunk = target ? 512 : 2 * kLong;
  config.prefix_cache = false;
  Run run(stage, config, kStreams * BlocksFor(32 + kOutput) + 2 * BlocksFor(kLong));
  for (uint64_t i = 0; i < kStreams; ++i) run.Submit(32, kOutput, i);
  while (run.request(kStreams - 1).tokens.size() < kWarm) run.Step();
  const TimePoint arrival = Clock().Now();
  const size_t prompt = run.Submit(kLong, 1, 99);
  while (run.request(prompt).tokens.empty()) run.Step();
  const TimePoint end = run.request(prompt).tokens[0];
  for (int i = 0; i < 3; ++i) run.Step();  // the interval that the prompt's last chunk is in ends

  Intervals intervals;
  intervals.first_token = Seconds(end - arrival);
  for (size_t i = 0; i < kStreams; ++i) {
    const std::vector<TimePoint>& tokens = run.request(i).tokens;
    for (size_t t = 1; t < tokens.size(); ++t) {
      const bool overlaps = tokens[t] > arrival && tokens[t - 1] <= end;
      (overlaps ? intervals.during : intervals.before)
          .push_back(Seconds(tokens[t] - tokens[t - 1]));
    }
  }
  return intervals;
}

void Print(const char* name, const Intervals& i, double target_ms) {
  const double p99 = Percentile(i.during, 0.99) * 1e3;
  fmt::print(
      "  {:18} median {:7.1f} ms, p99 {:7.1f} ms, longest {:7.1f} ms ({} intervals; p99 is "
      "{:.2f} x the target); before the prompt p99 {:.1f} ms; its first token after {:.2f} "
      "s\n",
      name, Percentile(i.during, 0.5) * 1e3, p99, Percentile(i.during, 1) * 1e3, i.during.size(),
      p99 / target_ms, Percentile(i.before, 0.99) * 1e3, i.first_token);
}

}  // namespace

Status LongPrompt(Stage& stage, Duration target) {
  const Intervals chunked = Measure(stage, target);
  const Intervals whole = Measure(stage, std::nullopt);
  fmt::print(
      "long prompt: {} tokens among {} streams, target {:.0f} ms between tokens (goal: p99 "
      "under 1.5 x), {} threads\n",
      kLong, kStreams, Milliseconds(target), stage.threads());
  Print("chunks to target", chunked, Milliseconds(target));
  Print("without chunks", whole, Milliseconds(target));
  return {};
}

}  // namespace millrace::scenarios
