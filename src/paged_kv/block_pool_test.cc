#include "paged_kv/block_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/rng.h"

namespace millrace {
namespace {

TEST(BlockPool, GivesAllOrNothing) {
  BlockPool pool(3);
  auto two = pool.TryAcquire(2);
  ASSERT_TRUE(two.has_value());
  EXPECT_FALSE(pool.TryAcquire(2).has_value());
  EXPECT_EQ(pool.available(), 1);
  EXPECT_TRUE(pool.TryAcquire(0)->empty());
  two->clear();
  EXPECT_EQ(pool.available(), 3);
}

TEST(BlockPool, GivesTheBlockFreedLongestAgo) {
  BlockPool pool(3);
  auto all = *pool.TryAcquire(3);
  const BlockId second = all[1].id();
  all.erase(all.begin() + 1);
  const BlockId first = all[0].id();
  all.erase(all.begin());
  auto again = *pool.TryAcquire(2);
  EXPECT_EQ(again[0].id(), second);
  EXPECT_EQ(again[1].id(), first);
}

TEST(BlockPool, ABlockIsFreeWhenItsLastHolderDies) {
  BlockPool pool(1);
  BlockRef first = std::move((*pool.TryAcquire(1))[0]);
  EXPECT_TRUE(first.IsUnique());
  BlockRef second = first.Share();
  EXPECT_FALSE(first.IsUnique());
  EXPECT_EQ(first.id(), second.id());
  first = BlockRef();
  EXPECT_EQ(pool.held(), 1);
  EXPECT_TRUE(second.IsUnique());
  second = BlockRef();
  EXPECT_EQ(pool.held(), 0);
}

TEST(BlockPool, ARunIsTheFirstThatFits) {
  BlockPool pool(8);
  auto all = *pool.TryAcquireRun(8);
  for (int32_t i = 0; i < 8; ++i) EXPECT_EQ(all[static_cast<size_t>(i)].id(), BlockId(i));
  for (const size_t freed : {6u, 5u, 4u, 2u, 1u}) all[freed] = BlockRef();
  EXPECT_EQ(pool.LongestFreeRun(), 3);
  EXPECT_FALSE(pool.TryAcquireRun(4).has_value());  // five are free
  const auto three = *pool.TryAcquireRun(3);
  EXPECT_EQ(three[0].id(), BlockId(4));
  const auto two = *pool.TryAcquireRun(2);
  EXPECT_EQ(two[0].id(), BlockId(1));
  EXPECT_EQ(pool.available(), 0);
  EXPECT_TRUE(pool.TryAcquireRun(0)->empty());
}

// The pool against a count of holders kept beside it, through random steps: single blocks, runs,
// shares (forks), moves of holders, and blocks moved together (compaction).
class Walk {
 public:
  Walk(int32_t capacity, uint64_t seed)
      : pool_(capacity),
        rng_(seed, static_cast<uint64_t>(capacity)),
        count_(static_cast<size_t>(capacity)) {}

  void Step() {
    switch (Below(7)) {
      case 0:
        return Acquire(false);
      case 1:
        return Acquire(true);
      case 2:
        return Share();
      case 3:
        return Move();
      case 4:
        return Slide();
      default:
        if (!holders_.empty()) Drop(Pick());
    }
  }

  void Check() {
    int32_t held = 0, run = 0, longest = 0;
    for (const int n : count_) {
      held += n > 0;
      run = n > 0 ? 0 : run + 1;
      longest = std::max(longest, run);
    }
    ASSERT_EQ(pool_.held(), held);
    ASSERT_EQ(pool_.available() + pool_.held(), pool_.capacity());
    ASSERT_EQ(pool_.LongestFreeRun(), longest);
    if (holders_.empty()) return;
    const BlockRef& any = holders_[Pick()];
    ASSERT_EQ(pool_.holders(any.id()), count_[Index(any.id())]);
    ASSERT_EQ(any.IsUnique(), count_[Index(any.id())] == 1);
  }

  // What was freed comes last: all that is free, once round.
  void Drain() {
    holders_.clear();
    std::fill(count_.begin(), count_.end(), 0);
    Check();
    const auto all = pool_.TryAcquire(pool_.capacity());
    ASSERT_TRUE(all.has_value());
    for (const BlockRef& block : *all) ASSERT_EQ(count_[Index(block.id())]++, 0);
  }

  int64_t runs_refused_though_free = 0;

 private:
  static size_t Index(BlockId id) { return static_cast<size_t>(id.value); }
  uint64_t Below(uint64_t bound) { return rng_.NextU64() % bound; }
  size_t Pick() { return static_cast<size_t>(Below(holders_.size())); }

  void Acquire(bool side_by_side) {
    const auto wanted = static_cast<int32_t>(Below(5));
    const int32_t available = pool_.available();
    const int32_t longest = pool_.LongestFreeRun();
    auto blocks = side_by_side ? pool_.TryAcquireRun(wanted) : pool_.TryAcquire(wanted);
    ASSERT_EQ(blocks.has_value(), wanted <= (side_by_side ? longest : available));
    if (!blocks) {
      runs_refused_though_free += wanted <= available;
      return;
    }
    ASSERT_EQ(static_cast<int32_t>(blocks->size()), wanted);
    for (size_t i = 0; i < blocks->size(); ++i) {
      BlockRef& block = (*blocks)[i];
      ASSERT_EQ(count_[Index(block.id())]++, 0) << "a held block was given";
      if (side_by_side && i > 0) {
        ASSERT_EQ(block.id().value, holders_.back().id().value + 1);
      }
      holders_.push_back(std::move(block));
    }
  }

  void Share() {
    if (holders_.empty() || holders_.size() > 500) return;
    holders_.push_back(holders_[Pick()].Share());
    ++count_[Index(holders_.back().id())];
  }

  void Drop(size_t i) {
    --count_[Index(holders_[i].id())];
    holders_.erase(holders_.begin() + static_cast<int64_t>(i));
  }

  // A holder moves onto another, which lets go of its own.
  void Move() {
    if (holders_.size() < 2) return;
    const size_t from = Pick(), to = Pick();
    if (from == to) return;
    --count_[Index(holders_[to].id())];
    holders_[to] = std::move(holders_[from]);
    ASSERT_FALSE(static_cast<bool>(holders_[from]));
    holders_.erase(holders_.begin() + static_cast<int64_t>(from));
  }

  // A block that is held once goes to the first free place, as compaction does.
  void Slide() {
    const auto free = std::find(count_.begin(), count_.end(), 0);
    if (holders_.empty() || free == count_.end()) return;
    BlockRef& block = holders_[Pick()];
    if (!block.IsUnique()) return;
    const BlockId target(static_cast<int32_t>(free - count_.begin()));
    --count_[Index(block.id())];
    block = pool_.AcquireFree(target);
    ++count_[Index(target)];
    ASSERT_EQ(block.id(), target);
  }

  BlockPool pool_;
  CounterRng rng_;
  std::vector<BlockRef> holders_;
  std::vector<int> count_;
};

TEST(BlockPool, ConservesBlocksThroughAHundredThousandRandomSteps) {
  constexpr int kStepsEach = 1667;  // of 60 pools: 4 to 63 blocks
  int64_t refused = 0;
  for (int32_t capacity = 4; capacity < 64; ++capacity) {
    Walk walk(capacity, 1);
    for (int step = 0; step < kStepsEach; ++step) {
      walk.Step();
      walk.Check();
      if (testing::Test::HasFatalFailure()) FAIL() << capacity << " blocks, step " << step;
    }
    walk.Drain();
    refused += walk.runs_refused_though_free;
  }
  EXPECT_GT(refused, 100) << "fragmentation should have been met";
}

}  // namespace
}  // namespace millrace
