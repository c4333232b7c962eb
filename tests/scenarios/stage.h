// What the scenarios share: a model of realistic cost, engines over it, and a record of what every
// step and every request took.
//
// The engine is driven from this thread, a step at a time, so that a step can be timed from
// outside; requests arrive between steps.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "engine/engine.h"
#include "model/transformer.h"

namespace millrace::scenarios {

// The model of a GGUF file, loaded once and lent to one engine after the other.
class Stage {
 public:
  static Result<std::unique_ptr<Stage>> Load(const std::string& path, int threads,
                                             int32_t max_positions);

  // One engine at a time. `blocks` of KV memory.
  std::unique_ptr<Engine> MakeEngine(const EngineConfig& config, int32_t blocks);
  Model& model() { return *model_; }
  int threads() const { return pool_->threads(); }

  // Of the last Forward: its rows, by kind, and how long it took.
  struct StepRows {
    int32_t decode = 0, prefill = 0;
    Duration forward{};
  };
  const StepRows& last() const { return last_; }

 private:
  class Lent;
  Stage() = default;

  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<Transformer> model_;
  StepRows last_;
};

// One step: what it held and took, from its plan to its last event.
struct StepRecord {
  Stage::StepRows rows;
  Duration took{};
};

// One request, by the clock of this process.
struct RequestRecord {
  TimePoint submitted{};
  std::vector<TimePoint> tokens;
  bool finished = false;
};

class Run {
 public:
  Run(Stage& stage, const EngineConfig& config, int32_t blocks)
      : stage_(stage), engine_(stage.MakeEngine(config, blocks)) {}

  size_t Submit(int32_t prompt_tokens, int32_t output_tokens, uint64_t seed);
  bool Step();
  void Finish() {
    while (Step()) {
    }
  }
  const std::vector<StepRecord>& steps() const { return steps_; }
  const RequestRecord& request(size_t index) const { return *requests_[index]; }
  size_t requests() const { return requests_.size(); }

 private:
  Stage& stage_;
  std::vector<std::unique_ptr<RequestRecord>> requests_;  // outlive the engine, which writes them
  std::unique_ptr<Engine> engine_;
  std::vector<StepRecord> steps_;
  Clock clock_;
};

// Of `values`, which must not be empty: the value that a share of them does not exceed.
double Percentile(std::vector<double> values, double share);

// The scenarios; each prints its figures.
// How long the answers of 16 to 512 tokens are: log-uniform (most are short, as in traces of real
// use), uniform, or of two kinds: three of four short (16 to 64), the others long (256 to 512).
enum class LengthMix { kLogUniform, kUniform, kTwoKinds };
Status MixedLengths(Stage& stage, LengthMix mix);
Status MixedArrivals(Stage& stage);
Status LongPrompt(Stage& stage, Duration target);
Status Bookkeeping(Stage& stage);

}  // namespace millrace::scenarios
