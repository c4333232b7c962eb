// PlanStep + Commit with a full batch: what the scheduler adds to a step, without any model.
#include <benchmark/benchmark.h>

#include <unordered_map>
#include <vector>

#include "continuous_batching/scheduler.h"

namespace millrace {
namespace {

constexpr int32_t kPrompt = 100;
constexpr int32_t kMaxLength = 1000;

// All sequences decode; the ones that reach kMaxLength are replaced, as in steady service.
void BM_PlanAndCommit(benchmark::State& state) {
  const auto running = static_cast<int32_t>(state.range(0));
  BlockPool pool(running * BlocksFor(kMaxLength));
  Scheduler scheduler({.max_running = running, .max_step_tokens = running + 512}, pool);
  int64_t next_id = 0;
  std::vector<int32_t> lengths;
  const auto add = [&](int32_t prompt) {
    scheduler.Add(RequestId(next_id++), prompt, kMaxLength);
    lengths.push_back(prompt);
  };
  // Different lengths, so that the sequences open blocks and end at different steps.
  for (int32_t i = 0; i < running; ++i) add(kPrompt + i * (kMaxLength - kPrompt) / running);
  std::vector<int32_t> appended;
  int64_t rows = 0;
  for (auto _ : state) {
    const StepPlan plan = scheduler.PlanStep();
    appended.assign(plan.slices.size(), 0);
    for (size_t i = 0; i < plan.slices.size(); ++i) {
      const Slice& slice = plan.slices[i];
      rows += slice.count;
      if (!slice.samples) continue;
      appended[i] = 1;
      if (++lengths[static_cast<size_t>(slice.request.value)] < kMaxLength) continue;
      scheduler.Remove(slice.request);
      add(kPrompt);
    }
    scheduler.Commit(plan, appended);
    benchmark::DoNotOptimize(plan);
  }
  state.counters["rows_per_step"] =
      benchmark::Counter(static_cast<double>(rows), benchmark::Counter::kAvgIterations);
}
BENCHMARK(BM_PlanAndCommit)->Arg(1)->Arg(16)->Arg(64)->Arg(256)->Unit(benchmark::kMicrosecond);

// The same with a prefix tree that is full of 100,000 blocks of others' prompts, in chains of 100:
// finished sequences leave their blocks, and new ones take theirs from what is evicted.
void BM_PlanAndCommitWithPrefixTree(benchmark::State& state) {
  constexpr int32_t kCached = 100'000;
  constexpr int32_t kChain = 100;
  const auto running = static_cast<int32_t>(state.range(0));
  BlockPool pool(kCached + running * BlocksFor(kMaxLength));
  PrefixTree tree(pool, {});
  int32_t next_token = 0;
  const auto fresh_tokens = [&](int32_t count) {
    std::vector<TokenId> tokens;
    for (int32_t i = 0; i < count; ++i) tokens.push_back(TokenId(next_token++));
    return tokens;
  };
  while (pool.available() > kChain) {
    auto blocks = pool.TryAcquire(kChain).value();
    PrefixTree::Cursor cursor;
    tree.Extend(cursor, "", fresh_tokens(kChain * kBlockTokens), blocks);
  }
  Scheduler scheduler({.max_running = running, .max_step_tokens = running + 512}, pool, &tree);
  int64_t next_id = 0;
  std::unordered_map<RequestId, std::vector<TokenId>> tokens;  // nodes stay where they are
  const auto add = [&](int32_t prompt) {
    const RequestId id(next_id++);
    std::vector<TokenId>& kept = tokens[id] = fresh_tokens(prompt);
    scheduler.Add(id, prompt, kMaxLength, PrefixUse{.space = {}, .tokens = &kept});
  };
  for (int32_t i = 0; i < running; ++i) add(kPrompt + i * (kMaxLength - kPrompt) / running);
  std::vector<int32_t> appended;
  for (auto _ : state) {
    const StepPlan plan = scheduler.PlanStep();
    appended.assign(plan.slices.size(), 0);
    for (size_t i = 0; i < plan.slices.size(); ++i) {
      if (!plan.slices[i].samples) continue;
      appended[i] = 1;
      tokens.at(plan.slices[i].request).push_back(TokenId(next_token++));
    }
    scheduler.Commit(plan, appended);
    for (const Slice& slice : plan.slices) {
      if (static_cast<int32_t>(tokens.at(slice.request).size()) < kMaxLength) continue;
      scheduler.Remove(slice.request);
      tokens.erase(slice.request);
      add(kPrompt);
    }
  }
  state.counters["cached_blocks"] = static_cast<double>(pool.reclaimable());
}
BENCHMARK(BM_PlanAndCommitWithPrefixTree)->Arg(16)->Arg(256)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
