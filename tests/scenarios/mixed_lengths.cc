// 32 requests of 16 to 512 tokens in 8 places: continuous batching beside static. All there at
// once, which shows throughput; or arriving one by one, at random, a little slower than continuous
// batching serves them, which shows waiting.
//
// The ceiling: what an ideal of each would take, by the step times measured here. Both ideals serve
// in order of arrival, not knowing how long an answer is going to be; the continuous one fills a
// place as soon as it is free; a step costs what steps with as many decode rows cost, and a prefill
// row what it added to the steps that held some. What the real ones lose against that is the
// scheduler, sampling, events, and chunks.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "base/rng.h"
#include "tests/scenarios/stage.h"

namespace millrace::scenarios {
namespace {

constexpr int32_t kRequests = 32;
constexpr int32_t kPlaces = 8;
constexpr int32_t kPrompt = 64;
constexpr int32_t kShortest = 16, kLongest = 512;

// Where `u`, of [0, 1), lies in a mix.
double LengthAt(LengthMix mix, double u) {
  const auto between = [](double least, double most, double share) {
    return least + share * (most - least);
  };
  switch (mix) {
    case LengthMix::kUniform:
      return between(kShortest, kLongest, u);
    case LengthMix::kTwoKinds:
      return u < 0.75 ? between(kShortest, 64, u / 0.75) : between(256, kLongest, 4 * u - 3);
    case LengthMix::kLogUniform:
      break;
  }
  return kShortest * std::pow(double{kLongest} / kShortest, u);
}

std::string_view NameOf(LengthMix mix) {
  switch (mix) {
    case LengthMix::kUniform:
      return "uniform";
    case LengthMix::kTwoKinds:
      return "three of four short";
    case LengthMix::kLogUniform:
      break;
  }
  return "log-uniform";
}

std::vector<int32_t> Lengths(LengthMix mix) {
  CounterRng rng(5, 0);
  std::vector<int32_t> lengths;
  for (int32_t i = 0; i < kRequests; ++i)
    lengths.push_back(static_cast<int32_t>(std::lround(LengthAt(mix, rng.NextDouble()))));
  return lengths;
}

struct Figures {
  double seconds = 0;
  double tokens_per_second = 0;
  double median_first_token = 0, p95_first_token = 0;  // seconds
  std::vector<StepRecord> steps;
};

// Seconds after the start at which requests arrive: Poisson, `rate` a second.
std::vector<double> Arrivals(double rate) {
  CounterRng rng(7, 0);
  std::vector<double> arrivals;
  double now = 0;
  for (int32_t i = 0; i < kRequests; ++i) {
    arrivals.push_back(now);
    now += -std::log(1 - rng.NextDouble()) / rate;
  }
  return arrivals;
}

// Steps while there is work, and sleeps until the next arrival where there is none.
void Serve(Run& run, const std::vector<int32_t>& lengths, const std::vector<double>& arrivals) {
  const TimePoint start = Clock().Now();
  size_t next = 0;
  bool any_left = false;
  while (next < lengths.size() || any_left) {
    const double now = Seconds(Clock().Now() - start);
    while (next < lengths.size() && arrivals[next] <= now) {
      run.Submit(kPrompt, lengths[next], next);
      ++next;
      any_left = true;
    }
    if (any_left) {
      any_left = run.Step();
    } else {
      std::this_thread::sleep_for(std::chrono::duration<double>(arrivals[next] - now));
    }
  }
}

Figures Measure(Stage& stage, const std::vector<int32_t>& lengths, Batching batching,
                const std::vector<double>& arrivals) {
  EngineConfig config;
  config.scheduler.max_running = kPlaces;
  config.scheduler.batching = batching;
  config.prefix_cache = false;
  if (batching == Batching::kContinuous) {
    config.scheduler.target_interval = std::chrono::milliseconds(100);  // as `millrace serve`
  }
  Run run(stage, config, kPlaces * BlocksFor(kPrompt + kLongest + kBlockTokens));
  const TimePoint start = Clock().Now();
  Serve(run, lengths, arrivals);
  Figures figures;
  figures.seconds = Seconds(Clock().Now() - start);
  std::vector<double> first;
  int64_t tokens = 0;
  for (size_t i = 0; i < run.requests(); ++i) {
    const RequestRecord& request = run.request(i);
    first.push_back(Seconds(request.tokens.at(0) - request.submitted));
    tokens += static_cast<int64_t>(request.tokens.size());
  }
  figures.tokens_per_second = static_cast<double>(tokens) / figures.seconds;
  figures.median_first_token = Percentile(first, 0.5);
  figures.p95_first_token = Percentile(first, 0.95);
  figures.steps = run.steps();
  return figures;
}

// Seconds of a step by its decode rows, and of a prefill row.
struct StepTimes {
  std::vector<double> decode;  // [rows]
  double prefill_row = 0;
};

StepTimes TimesOf(const std::vector<const Figures*>& all) {
  std::vector<std::vector<double>> samples(kPlaces + 1);
  double prefill_seconds = 0, prefill_rows = 0;
  for (const Figures* figures : all) {
    for (const StepRecord& step : figures->steps) {
      if (step.rows.prefill > 0) continue;
      samples[static_cast<size_t>(step.rows.decode)].push_back(Seconds(step.rows.forward));
    }
  }
  StepTimes times;
  times.decode.assign(kPlaces + 1, 0);
  for (size_t rows = 1; rows <= kPlaces; ++rows) {
    // A number of rows that never came alone counts as the one below it.
    times.decode[rows] =
        samples[rows].empty() ? times.decode[rows - 1] : Percentile(samples[rows], 0.5);
  }
  for (const Figures* figures : all) {
    for (const StepRecord& step : figures->steps) {
      if (step.rows.prefill == 0) continue;
      prefill_seconds += Seconds(step.rows.forward) -
                         times.decode[static_cast<size_t>(std::min(step.rows.decode, kPlaces))];
      prefill_rows += step.rows.prefill;
    }
  }
  times.prefill_row = prefill_seconds / std::max(prefill_rows, 1.0);
  return times;
}

// How long the ideal takes: prompts cost their rows when they begin, which gives the first token;
// every step gives each running request one.
double Ideal(const std::vector<int32_t>& lengths, Batching batching, const StepTimes& times) {
  std::vector<int32_t> left;
  size_t next = 0;
  double seconds = 0;
  while (next < lengths.size() || !left.empty()) {
    const bool may_begin = batching == Batching::kContinuous || left.empty();
    while (may_begin && next < lengths.size() && left.size() < kPlaces) {
      left.push_back(lengths[next++] - 1);
      seconds += kPrompt * times.prefill_row;
    }
    seconds += times.decode[left.size()];
    for (int32_t& tokens : left) --tokens;
    std::erase_if(left, [](int32_t tokens) { return tokens <= 0; });
  }
  return seconds;
}

}  // namespace

Status MixedLengths(Stage& stage, LengthMix mix) {
  const std::vector<int32_t> lengths = Lengths(mix);
  const std::vector<double> at_once(kRequests, 0.0);
  (void)Measure(stage, {16, 16, 16, 16, 16, 16, 16, 16}, Batching::kContinuous, at_once);  // warm
  const Figures continuous = Measure(stage, lengths, Batching::kContinuous, at_once);
  const Figures fixed = Measure(stage, lengths, Batching::kStatic, at_once);
  const StepTimes times = TimesOf({&continuous, &fixed});
  const double ideal = Ideal(lengths, Batching::kContinuous, times);
  const double ideal_static = Ideal(lengths, Batching::kStatic, times);
  const double gain = fixed.seconds / continuous.seconds;
  const double ceiling = ideal_static / ideal;

  int64_t tokens = 0;
  for (const int32_t length : lengths) tokens += length;
  fmt::print(
      "mixed lengths: {} requests, prompts of {}, {} to {} tokens out ({}, {} in all), {} "
      "places, {} threads\n",
      kRequests, kPrompt, kShortest, kLongest, NameOf(mix), tokens, kPlaces, stage.threads());
  fmt::print("  step times, ms by decode rows:");
  for (size_t rows = 1; rows <= kPlaces; ++rows) fmt::print(" {:.1f}", times.decode[rows] * 1e3);
  fmt::print("; a prefill row {:.2f}\n", times.prefill_row * 1e3);
  const auto line = [](const char* name, const Figures& f, double best) {
    fmt::print(
        "  {:10} {:7.2f} s (ideal by these step times {:7.2f} s), {:6.1f} tokens/s, p95 "
        "time to first token {:6.2f} s\n",
        name, f.seconds, best, f.tokens_per_second, f.p95_first_token);
  };
  line("continuous", continuous, ideal);
  line("static", fixed, ideal_static);
  fmt::print(
      "  throughput: {:.3f} x static; ceiling {:.3f} x; reached {:.1f} % of the ceiling, "
      "{:.1f} % of its gain (goal 92 %, and 1.4 x)\n",
      gain, ceiling, 100 * gain / ceiling, 100 * (gain - 1) / (ceiling - 1));
  fmt::print("  p95 time to first token: {:.3f} of static's (goal 0.5)\n",
             continuous.p95_first_token / fixed.p95_first_token);
  return {};
}

Status MixedArrivals(Stage& stage) {
  constexpr double kLoad = 0.8;
  const std::vector<int32_t> lengths = Lengths(LengthMix::kLogUniform);
  const std::vector<double> at_once(kRequests, 0.0);
  const Figures full = Measure(stage, lengths, Batching::kContinuous, at_once);
  const double rate = kLoad * kRequests / full.seconds;
  const std::vector<double> arrivals = Arrivals(rate);
  const Figures continuous = Measure(stage, lengths, Batching::kContinuous, arrivals);
  const Figures fixed = Measure(stage, lengths, Batching::kStatic, arrivals);
  fmt::print(
      "mixed lengths, arriving: {} requests as above, Poisson, {:.2f} a second ({:.0f} % of what "
      "continuous batching serves when all are there), {} places, {} threads\n",
      kRequests, rate, 100 * kLoad, kPlaces, stage.threads());
  for (const auto& [name, f] : {std::pair{"continuous", &continuous}, {"static", &fixed}}) {
    fmt::print("  {:10} {:7.2f} s, time to first token: median {:6.2f} s, p95 {:6.2f} s\n", name,
               f->seconds, f->median_first_token, f->p95_first_token);
  }
  fmt::print("  p95 time to first token: {:.3f} of static's (goal 0.5)\n",
             continuous.p95_first_token / fixed.p95_first_token);
  return {};
}

}  // namespace millrace::scenarios
