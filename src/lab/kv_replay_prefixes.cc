#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "lab/kv_replay.h"

namespace millrace {
namespace {

int32_t Scaled(int32_t tokens, int32_t tokens_per_trace_block) {
  const double scale = static_cast<double>(tokens_per_trace_block) / kTraceBlockTokens;
  return std::max(1, static_cast<int32_t>(std::lround(tokens * scale)));
}

// Adds a request of which the first `cached` of `prompt` tokens were found.
void Count(PrefixFigures& figures, int32_t prompt, int32_t cached, int32_t per_block) {
  figures.tokens += prompt;
  figures.cached += cached;
  figures.blocks += (prompt + per_block - 1) / per_block;
  figures.hits += cached >= prompt - 1 ? (prompt + per_block - 1) / per_block : cached / per_block;
}

class Replay {
 public:
  Replay(std::span<const TraceRequest> trace, const PrefixReplay& options)
      : trace_(trace),
        options_(options),
        pool_(options.blocks),
        tree_(pool_, {}),
        scheduler_({.max_running = options.max_running}, pool_, &tree_) {}

  PrefixFigures Run() {
    while (next_ < trace_.size() || !live_.empty()) {
      if (live_.empty()) {
        figures_.seconds = std::max(figures_.seconds, trace_[next_].arrival_seconds);
      }
      Arrive();
      Step();
    }
    figures_.evicted = tree_.stats().evicted;
    return figures_;
  }

 private:
  struct Live {
    std::vector<TokenId> tokens;
    int32_t prompt = 0;
    int32_t max_length = 0;
    bool counted = false;
  };

  void Arrive() {
    for (; next_ < trace_.size() && trace_[next_].arrival_seconds <= figures_.seconds; ++next_) {
      const TraceRequest& request = trace_[next_];
      Live live;
      live.tokens = Prompt(request);
      live.prompt = static_cast<int32_t>(live.tokens.size());
      live.max_length =
          live.prompt + Scaled(request.output_tokens, options_.tokens_per_trace_block);
      const RequestId id(static_cast<int64_t>(next_));
      const Live& kept = live_[id] = std::move(live);
      scheduler_.Add(id, kept.prompt, kept.max_length,
                     PrefixUse{.space = {}, .tokens = &kept.tokens});
    }
  }

  // The tokens of a trace block are its number, which no other block has.
  std::vector<TokenId> Prompt(const TraceRequest& request) {
    const int32_t per_block = options_.tokens_per_trace_block;
    const int32_t length = Scaled(request.input_tokens, per_block);
    std::vector<TokenId> tokens;
    for (const int64_t block : request.prefix_blocks) {
      const auto known = numbers_.try_emplace(block, static_cast<int32_t>(numbers_.size())).first;
      tokens.insert(tokens.end(), static_cast<size_t>(per_block), TokenId(known->second));
    }
    CHECK(static_cast<int32_t>(tokens.size()) >= length);
    tokens.resize(static_cast<size_t>(length));
    return tokens;
  }

  void Step() {
    const StepPlan plan = scheduler_.PlanStep();
    for (const Admission& admission : plan.admitted) {
      Live& live = live_.at(admission.request);
      if (std::exchange(live.counted, true)) continue;
      Count(figures_, live.prompt, admission.cached, options_.tokens_per_trace_block);
    }
    std::vector<int32_t> appended;
    std::vector<RequestId> ended;
    int64_t rows = 0;
    for (const Slice& slice : plan.slices) {
      rows += slice.count;
      appended.push_back(slice.samples ? 1 : 0);
      if (!slice.samples) continue;
      Live& live = live_.at(slice.request);
      live.tokens.push_back(TokenId(--answer_token_));  // no prompt of the trace goes on like this
      if (static_cast<int32_t>(live.tokens.size()) == live.max_length) {
        ended.push_back(slice.request);
      }
    }
    scheduler_.Commit(plan, appended);
    for (const RequestId id : ended) {
      scheduler_.Remove(id);
      live_.erase(id);
    }
    figures_.computed += rows;
    figures_.seconds +=
        options_.seconds_per_step + options_.seconds_per_row * static_cast<double>(rows);
  }

  std::span<const TraceRequest> trace_;
  PrefixReplay options_;
  BlockPool pool_;
  std::unordered_map<RequestId, Live> live_;  // nodes stay where they are
  PrefixTree tree_;
  Scheduler scheduler_;
  std::unordered_map<int64_t, int32_t> numbers_;  // of the trace's blocks
  size_t next_ = 0;
  int32_t answer_token_ = 0;  // below all the blocks' numbers
  PrefixFigures figures_;
};

}  // namespace

PrefixFigures ReplayPrefixes(std::span<const TraceRequest> trace, const PrefixReplay& options) {
  CHECK(options.tokens_per_trace_block >= 1 && options.blocks >= 1);
  return Replay(trace, options).Run();
}

PrefixFigures IdealPrefixes(std::span<const TraceRequest> trace, int32_t tokens_per_trace_block) {
  PrefixFigures figures;
  std::unordered_set<int64_t> seen;
  for (const TraceRequest& request : trace) {
    const auto& blocks = request.prefix_blocks;
    const auto end = std::find_if(blocks.begin(), blocks.end(),
                                  [&seen](int64_t block) { return !seen.contains(block); });
    seen.insert(blocks.begin(), blocks.end());
    const int32_t prompt = Scaled(request.input_tokens, tokens_per_trace_block);
    const auto found = static_cast<int32_t>(end - blocks.begin()) * tokens_per_trace_block;
    Count(figures, prompt, std::min(found, prompt - 1), tokens_per_trace_block);
  }
  return figures;
}

int64_t DistinctBlocks(std::span<const TraceRequest> trace) {
  std::unordered_set<int64_t> blocks;
  for (const TraceRequest& request : trace) {
    blocks.insert(request.prefix_blocks.begin(), request.prefix_blocks.end());
  }
  return static_cast<int64_t>(blocks.size());
}

}  // namespace millrace
