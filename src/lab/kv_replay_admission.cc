#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "lab/kv_replay.h"

namespace millrace {
namespace {

struct Lengths {
  int32_t prompt = 0, answer = 0;
};

Lengths Scaled(const TraceRequest& request, const AdmissionReplay& options) {
  const auto scaled = [&](int32_t tokens) {
    return static_cast<int32_t>(std::lround(tokens * options.scale));
  };
  const int32_t prompt = std::clamp(scaled(request.input_tokens), 1, options.context - 1);
  return {prompt, std::clamp(scaled(request.output_tokens), 1, options.context - prompt)};
}

int32_t MaxLength(const Lengths& lengths, int32_t longest_answer, const AdmissionReplay& options) {
  switch (options.reserve) {
    case Reserve::kContext:
      break;
    case Reserve::kLongestAnswer:
      return std::min(options.context, lengths.prompt + longest_answer);
    case Reserve::kOracle:
      return lengths.prompt + lengths.answer;
  }
  return options.context;
}

class AdmissionRun {
 public:
  AdmissionRun(std::span<const TraceRequest> trace, const AdmissionReplay& options)
      : options_(options),
        pool_(options.blocks),
        scheduler_({.max_running = kUnbounded,
                    .max_step_tokens = kUnbounded,
                    .max_chunk = 512,
                    .layout = options.layout},
                   pool_) {
    for (const TraceRequest& request : trace) lengths_.push_back(Scaled(request, options));
    int32_t longest_answer = 0;
    for (const Lengths& l : lengths_) longest_answer = std::max(longest_answer, l.answer);
    for (const Lengths& l : lengths_) {
      const int32_t most = MaxLength(l, longest_answer, options);
      scheduler_.Add(RequestId(static_cast<int64_t>(left_.size())), l.prompt, most);
      left_.push_back(l.answer);
    }
  }

  AdmissionFigures Run() {
    while (scheduler_.running() + scheduler_.waiting() > 0) Step();
    const auto mean = [this](double sum) { return figures_.steps > 0 ? sum / steps() : 0; };
    figures_.mean_running = mean(running_);
    figures_.filled = mean(filled_);
    figures_.unused = mean(unused_);
    figures_.unusable = mean(unusable_);
    figures_.compactions = scheduler_.usage().compactions;
    figures_.moved_blocks = scheduler_.usage().moved_blocks;
    return figures_;
  }

 private:
  // More than memory ever holds, and few enough to add up.
  static constexpr int32_t kUnbounded = 1 << 24;

  double steps() const { return static_cast<double>(figures_.steps); }

  void Step() {
    const StepPlan plan = scheduler_.PlanStep();
    figures_.preemptions += static_cast<int64_t>(plan.preempted.size());
    std::vector<int32_t> appended;
    std::vector<RequestId> ended;
    for (const Slice& slice : plan.slices) {
      appended.push_back(slice.samples ? 1 : 0);
      if (!slice.samples) continue;
      if (--left_[static_cast<size_t>(slice.request.value)] == 0) ended.push_back(slice.request);
    }
    scheduler_.Commit(plan, appended);
    if (scheduler_.waiting() > 0) Count();
    for (const RequestId id : ended) scheduler_.Remove(id);
    figures_.requests += static_cast<int64_t>(ended.size());
  }

  void Count() {
    const KvUsage usage = scheduler_.usage();
    const auto held = static_cast<double>(pool_.held()) * kBlockTokens;
    const auto all = static_cast<double>(pool_.capacity()) * kBlockTokens;
    const auto unused = static_cast<double>(usage.unused_slots);
    ++figures_.steps;
    figures_.most_running = std::max(figures_.most_running, scheduler_.running());
    running_ += scheduler_.running();
    filled_ += (held - unused) / all;
    unused_ += held > 0 ? unused / held : 0;
    unusable_ += usage.unusable_blocks * double{kBlockTokens} / all;
  }

  AdmissionReplay options_;
  BlockPool pool_;
  Scheduler scheduler_;
  std::vector<Lengths> lengths_;
  std::vector<int32_t> left_;  // tokens of each answer
  AdmissionFigures figures_;
  double running_ = 0, filled_ = 0, unused_ = 0, unusable_ = 0;  // sums over the steps
};

}  // namespace

AdmissionFigures ReplayAdmission(std::span<const TraceRequest> trace,
                                 const AdmissionReplay& options) {
  CHECK(options.context >= 2 && BlocksFor(options.context) <= options.blocks && options.scale > 0);
  return AdmissionRun(trace, options).Run();
}

}  // namespace millrace
