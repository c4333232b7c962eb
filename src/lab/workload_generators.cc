#include "lab/workload_generators.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/rng.h"

namespace millrace {
namespace {

using GeneratedJson = nlohmann::json;

constexpr std::array<std::string_view, 48> kWords = {
    "river",   "stone",   "market",  "garden",  "window",  "letter",  "bridge",  "winter",
    "paper",   "music",   "train",   "signal",  "harbour", "village", "engine",  "copper",
    "silver",  "forest",  "valley",  "island",  "number",  "report",  "teacher", "doctor",
    "summer",  "morning", "evening", "station", "street",  "castle",  "record",  "ticket",
    "weather", "journey", "kitchen", "picture", "machine", "library", "meadow",  "captain",
    "lantern", "orchard", "pebble",  "thunder", "velvet",  "whistle", "compass", "feather"};

class Writer {
 public:
  Writer(uint64_t seed, uint64_t position) : rng_(seed, position) {}
  size_t Below(size_t n) { return static_cast<size_t>(rng_.NextU64() % n); }
  std::string Words(size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i) {
      if (i > 0) text += ' ';
      text += kWords[Below(kWords.size())];
    }
    return text;
  }
  // Letters and digits that no model foresees and no two prompts share.
  std::string Noise(size_t words) {
    constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789";
    std::string text;
    for (size_t i = 0; i < words; ++i) {
      if (i > 0) text += ' ';
      for (int c = 0; c < 6; ++c) text += kLetters[Below(kLetters.size())];
    }
    return text;
  }

 private:
  CounterRng rng_;
};

GeneratedJson Said(const char* role, const std::string& text) {
  return {{"role", role}, {"content", text}};
}

WorkloadRequest Asking(const GeneratedJson& messages, int32_t output) {
  WorkloadRequest request;
  request.messages = messages.dump();
  request.output_tokens = output;
  return request;
}

std::vector<WorkloadRequest> SharedChat(const GeneratorOptions& o) {
  const std::string system = Writer(o.seed, 0).Words(150 * static_cast<size_t>(o.scale));
  std::vector<WorkloadRequest> requests;
  for (size_t i = 0; i < o.requests; ++i) {
    Writer w(o.seed, i + 1);
    requests.push_back(Asking({Said("system", system), Said("user", w.Words(8 + w.Below(8)))},
                              static_cast<int32_t>(16 + w.Below(16))));
  }
  return requests;
}

std::vector<WorkloadRequest> Retrieval(const GeneratorOptions& o) {
  constexpr size_t kCollection = 40, kPassages = 5;
  std::vector<std::string> collection;
  for (size_t i = 0; i < kCollection; ++i)
    collection.push_back(Writer(o.seed, i).Words(25 * static_cast<size_t>(o.scale)) + ".");
  std::vector<WorkloadRequest> requests;
  for (size_t i = 0; i < o.requests; ++i) {
    Writer w(o.seed, kCollection + i);
    WorkloadRequest r = Asking(GeneratedJson::array({Said("user", w.Words(10) + "?")}), 24);
    for (size_t k = 0; k < kPassages; ++k) {
      // Squared: some passages are asked for far more often than others.
      const double u = static_cast<double>(w.Below(1000)) / 1000;
      r.documents.push_back(collection[static_cast<size_t>(u * u * kCollection)]);
    }
    requests.push_back(std::move(r));
  }
  return requests;
}

std::vector<WorkloadRequest> MixedLengths(const GeneratorOptions& o) {
  std::vector<WorkloadRequest> requests;
  for (size_t i = 0; i < o.requests; ++i) {
    Writer w(o.seed, i);
    const bool long_prompt = w.Below(5) == 0;
    const size_t words = long_prompt ? 150 * static_cast<size_t>(o.scale) : 10 + w.Below(20);
    const double u = static_cast<double>(w.Below(1000)) / 1000;
    requests.push_back(Asking(GeneratedJson::array({Said("user", w.Words(words))}),
                              static_cast<int32_t>(std::lround(8 * std::pow(16.0, u)))));
  }
  return requests;
}

std::vector<WorkloadRequest> GrowingTurns(const GeneratorOptions& o) {
  constexpr size_t kTurns = 5;
  std::vector<WorkloadRequest> requests;
  for (size_t i = 0; i < o.requests;) {
    Writer w(o.seed, i);
    GeneratedJson messages = GeneratedJson::array({Said("system", "You are a helpful assistant.")});
    for (size_t turn = 0; turn < kTurns && i < o.requests; ++turn, ++i) {
      messages.push_back(Said("user", w.Words(12 * static_cast<size_t>(o.scale))));
      WorkloadRequest r = Asking(messages, 24);
      r.session = fmt::format("conversation {}", requests.size() - turn);
      r.delay_seconds = turn == 0 ? 0 : 0.2;
      r.answer = w.Words(16 * static_cast<size_t>(o.scale));
      messages.push_back(Said("assistant", r.answer));
      requests.push_back(std::move(r));
    }
  }
  return requests;
}

std::vector<WorkloadRequest> Unique(const GeneratorOptions& o) {
  std::vector<WorkloadRequest> requests;
  for (size_t i = 0; i < o.requests; ++i) {
    Writer w(o.seed, i);
    WorkloadRequest r;
    r.prompt = w.Noise(40 * static_cast<size_t>(o.scale));
    r.temperature = 2;
    r.output_tokens = 24;
    requests.push_back(std::move(r));
  }
  return requests;
}

std::vector<WorkloadRequest> Same(const GeneratorOptions& o) {
  const std::string system = Writer(o.seed, 0).Words(150 * static_cast<size_t>(o.scale));
  const std::string question = Writer(o.seed, 1).Words(10);
  std::vector<WorkloadRequest> requests;
  for (size_t i = 0; i < o.requests; ++i)
    requests.push_back(Asking({Said("system", system), Said("user", question)}, 24));
  return requests;
}

struct Generator {
  const char* kind;
  std::vector<WorkloadRequest> (*make)(const GeneratorOptions&);
};
constexpr Generator kGenerators[] = {{"chat", SharedChat},    {"retrieval", Retrieval},
                                     {"mixed", MixedLengths}, {"turns", GrowingTurns},
                                     {"unique", Unique},      {"same", Same}};

// Standard normal, by Box and Muller (1958).
double Normal(CounterRng& rng) {
  const double u = 1 - rng.NextDouble(), v = rng.NextDouble();
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * 3.14159265358979323846 * v);
}

// Gamma with mean 1 (Marsaglia and Tsang 2000; for a shape under 1, boosted by a power).
double GammaGap(CounterRng& rng, double shape) {
  const double d = shape + 1 - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = Normal(rng), v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    const double u = 1 - rng.NextDouble();
    if (std::log(u) >= 0.5 * x * x + d - d * v + d * std::log(v)) continue;
    return d * v * std::pow(1 - rng.NextDouble(), 1 / shape) / shape;
  }
}

}  // namespace

const std::vector<std::string>& GeneratorKinds() {
  static const std::vector<std::string> kinds = [] {
    std::vector<std::string> names;
    for (const Generator& g : kGenerators) names.emplace_back(g.kind);
    return names;
  }();
  return kinds;
}

Result<Workload> GenerateWorkload(std::string_view kind, const GeneratorOptions& options) {
  if (options.requests == 0 || options.scale < 1)
    return Error{"a generated workload needs at least one request and a scale of at least 1"};
  for (const Generator& g : kGenerators) {
    if (kind != g.kind) continue;
    Workload workload;
    workload.format = fmt::format("generated: {}", kind);
    workload.requests = g.make(options);
    return workload;
  }
  return Error{fmt::format("unknown kind of workload '{}': choose {}", kind,
                           fmt::join(GeneratorKinds(), ", "))};
}

void SetArrivals(Workload& workload, ArrivalPattern pattern, double per_second, uint64_t seed) {
  CHECK(per_second > 0);
  constexpr double kShape = 0.25;
  CounterRng rng(seed, 0xa221);
  double now = 0;
  for (WorkloadRequest& request : workload.requests) {
    request.arrival_seconds = now;
    const double gap = pattern == ArrivalPattern::kPoisson ? -std::log(1 - rng.NextDouble())
                                                           : GammaGap(rng, kShape);
    now += gap / per_second;
  }
  workload.timed = true;
}

}  // namespace millrace
