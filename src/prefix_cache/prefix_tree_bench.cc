// What the tree costs beside a step: lookups, growth and eviction with 100,000 cached blocks.
#include <benchmark/benchmark.h>

#include "base/rng.h"
#include "prefix_cache/prefix_tree.h"

namespace millrace {
namespace {

constexpr int32_t kCached = 100'000;    // blocks
constexpr int32_t kPromptBlocks = 100;  // of each cached sequence
constexpr int32_t kSharedBlocks = 50;   // of them, the same for ten sequences

std::vector<TokenId> Prompt(int32_t i) {
  std::vector<TokenId> tokens;
  CounterRng common(static_cast<uint64_t>(i / 10), 1), own(static_cast<uint64_t>(i), 2);
  for (int32_t p = 0; p < kPromptBlocks * kBlockTokens; ++p) {
    CounterRng& rng = p < kSharedBlocks * kBlockTokens ? common : own;
    tokens.push_back(TokenId(static_cast<int32_t>(rng.NextU64() % 50'000)));
  }
  return tokens;
}

struct Filled {
  BlockPool pool{kCached + 1000};
  PrefixTree tree{pool, {}};
  int32_t next = 0;

  void Add() {
    const std::vector<TokenId> tokens = Prompt(next++);
    if (pool.available() < kPromptBlocks) tree.Evict(kPromptBlocks - pool.available());
    auto blocks = pool.TryAcquire(kPromptBlocks).value();
    PrefixTree::Cursor cursor;
    tree.Extend(cursor, "", tokens, blocks);
  }
  Filled() {
    while (tree.stats().nodes < kCached) Add();
  }
};

void BM_Find(benchmark::State& state) {
  Filled filled;
  int32_t i = 0;
  std::vector<std::vector<TokenId>> prompts;
  for (int32_t p = 0; p < 64; ++p) prompts.push_back(Prompt(p * 17));
  for (auto _ : state) {
    PrefixTree::Match match = filled.tree.Find("", prompts[static_cast<size_t>(i++ % 64)]);
    filled.tree.Touch(match);
    benchmark::DoNotOptimize(match);
  }
  state.SetLabel("100 blocks");
}
BENCHMARK(BM_Find)->Unit(benchmark::kMicrosecond);

// One sequence's share of 32 decode steps: its next block becomes known, another one is evicted.
void BM_ExtendAndEvictOneBlock(benchmark::State& state) {
  Filled filled;
  filled.tree.Evict(1);
  const std::vector<TokenId> tokens(static_cast<size_t>(1 << 22), TokenId(3));
  std::vector<BlockRef> blocks;
  PrefixTree::Cursor cursor;
  int32_t round = 0;
  std::string space = "0";
  for (auto _ : state) {
    if (blocks.size() == 4000) {
      blocks.clear();
      cursor = {};
      space = std::to_string(++round);  // so that nothing of it is known
    }
    if (filled.pool.available() == 0) filled.tree.Evict(1);
    blocks.push_back(std::move(filled.pool.TryAcquire(1).value()[0]));
    filled.tree.Extend(cursor, space, std::span(tokens).first(blocks.size() * kBlockTokens),
                       blocks);
  }
}
BENCHMARK(BM_ExtendAndEvictOneBlock)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
