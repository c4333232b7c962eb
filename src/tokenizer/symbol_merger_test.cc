#include "tokenizer/symbol_merger.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace millrace::tokenizer_internal {
namespace {

// A made-up table of merges: whether two ids merge, and how soon, follows from a hash of both.
// Equal priorities are frequent, so that "the leftmost" matters.
Merge FindMerge(const Symbol& left, const Symbol& right) {
  const uint64_t hash =
      Mix64(static_cast<uint64_t>(left.id) << 32 | static_cast<uint32_t>(right.id));
  if (hash % 3 == 0) return {};
  return {static_cast<uint32_t>(hash >> 8) % 5, static_cast<int32_t>(hash >> 40) % 6};
}

TEST(SymbolMerger, ScanAndHeapAgree) {
  SymbolMerger by_scan;
  SymbolMerger by_heap;
  size_t merged = 0;
  for (uint64_t i = 0; i < 3000; ++i) {
    CounterRng rng(3, i);
    const size_t count = rng.NextU64() % 80;
    by_scan.symbols().clear();
    for (size_t s = 0; s < count; ++s) {
      by_scan.symbols().push_back({s, s + 1, static_cast<int32_t>(rng.NextU64() % 6)});
    }
    by_heap.symbols() = by_scan.symbols();
    by_scan.RunByScan(FindMerge);
    by_heap.RunByHeap(FindMerge);
    ASSERT_EQ(by_scan.symbols().size(), by_heap.symbols().size());
    for (size_t s = 0; s < by_scan.symbols().size(); ++s) {
      EXPECT_EQ(by_scan.symbols()[s].begin, by_heap.symbols()[s].begin);
      EXPECT_EQ(by_scan.symbols()[s].end, by_heap.symbols()[s].end);
      EXPECT_EQ(by_scan.symbols()[s].id, by_heap.symbols()[s].id);
    }
    merged += count - by_scan.symbols().size();
  }
  EXPECT_GT(merged, 10000u);
}

}  // namespace
}  // namespace millrace::tokenizer_internal
