// Random operations on pools of a few blocks, against a naive model: a list of the token strings
// that are known, and a memory in which every slot says which beginning its key and value belong
// to.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/rng.h"
#include "prefix_cache/prefix_tree.h"

namespace millrace {
namespace {

using Tokens = std::vector<TokenId>;

uint64_t HashOf(std::string_view space, std::span<const TokenId> tokens) {
  uint64_t hash = space.empty() ? 1 : static_cast<uint64_t>(space[0]);
  for (TokenId token : tokens) hash = Mix64(hash ^ static_cast<uint64_t>(token.value));
  return hash;
}

int32_t CommonPrefix(const Tokens& a, const Tokens& b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<int32_t>(end - a.begin());
}

struct Live {
  std::string space;
  Tokens tokens;
  int32_t computed = 0;
  std::vector<BlockRef> blocks;
  PrefixTree::Cursor cursor;
};

// A string that the tree should know, whose last block holds its last tokens.
struct Known {
  std::string space;
  Tokens tokens;
  BlockId block;
  bool pinned = false;

  int32_t index() const { return (static_cast<int32_t>(tokens.size()) - 1) / kBlockTokens; }
};

struct Totals {
  int64_t whole_hits = 0, partial_hits = 0, evicted = 0, shared = 0, pins = 0, absorbed = 0;
};

class World {
 public:
  World(uint64_t seed, Totals& totals)
      : rng_(seed, 3),
        totals_(totals),
        pool_(Below(12) + 3),
        tree_(pool_, {.max_pinned = pool_.capacity() / 2}),
        memory_(static_cast<size_t>(pool_.capacity()),
                std::vector<uint64_t>(static_cast<size_t>(kBlockTokens))) {}

  int32_t Below(int32_t bound) {
    return static_cast<int32_t>(rng_.NextU64() % static_cast<uint64_t>(bound));
  }

  void Step() {
    const int32_t choice = Below(20);
    if (choice < 4 && live_.size() < 5) {
      Start();
    } else if (choice < 14 && !live_.empty()) {
      Compute(OneLive());
    } else if (choice < 17 && !live_.empty()) {
      Finish();
    } else if (choice == 17) {
      Evict(Below(4) + 1);
    } else if (choice == 18) {
      PinOrUnpin();
    }
    Check();
  }

  void End() {
    while (!live_.empty()) Finish();
    tree_.UnpinAll();
    for (Known& known : known_) known.pinned = false;
    Evict(pool_.capacity());
    Check();
    ASSERT_EQ(pool_.held(), 0);
    ASSERT_EQ(tree_.stats().nodes, 0);
  }

 private:
  // Mostly something that begins like what is or was there, then goes its own way.
  Tokens RandomTokens() {
    Tokens tokens;
    if (!history_.empty() && Below(5) > 0) {
      const auto at = static_cast<size_t>(Below(static_cast<int32_t>(history_.size())));
      tokens = history_[at];
      const auto most = static_cast<int32_t>(tokens.size());
      tokens.resize(static_cast<size_t>(std::max(Below(most), Below(most)) + 1));
    }
    for (int32_t more = Below(70); more > 0; --more) tokens.push_back(TokenId(Below(4) / 3));
    const auto most = static_cast<size_t>(pool_.capacity() * kBlockTokens);
    if (tokens.size() > most) tokens.resize(most);
    if (tokens.empty()) tokens.push_back(TokenId(1));
    history_.push_back(tokens);
    if (history_.size() > 20) history_.erase(history_.begin());
    return tokens;
  }

  Live& OneLive() { return live_[static_cast<size_t>(Below(static_cast<int32_t>(live_.size())))]; }

  int32_t NaiveCount(const std::string& space, const Tokens& tokens) const {
    int32_t most = 0;
    for (const Known& known : known_) {
      if (known.space == space) most = std::max(most, CommonPrefix(known.tokens, tokens));
    }
    return most;
  }

  void Start() {
    Live live;
    live.space = Below(3) == 0 ? "b" : "a";
    live.tokens = RandomTokens();
    const int32_t expected = NaiveCount(live.space, live.tokens);
    ASSERT_EQ(tree_.Count(live.space, live.tokens), expected);
    PrefixTree::Match match;
    if (Below(4) > 0) {  // the others compute what another may be computing, too
      match = tree_.Find(live.space, live.tokens);
      ASSERT_EQ(match.tokens(), expected);
    }
    if (Below(2) == 0) tree_.Touch(match);
    totals_.whole_hits += static_cast<int64_t>(match.blocks.size());
    live.blocks = std::move(match.blocks);
    live.cursor = match.cursor;
    live.computed = static_cast<int32_t>(live.blocks.size()) * kBlockTokens;
    if (match.partial_tokens > 0 && Cover(live, live.computed + 1)) {
      memory_[Index(live.blocks.back())] = memory_[Index(match.partial)];
      live.computed += match.partial_tokens;
      ++totals_.partial_hits;
    }
    match.partial = BlockRef();
    CheckContent(live);
    live_.push_back(std::move(live));
  }

  static size_t Index(const BlockRef& block) { return static_cast<size_t>(block.id().value); }

  // Every slot of the computed part holds what computing it would have written.
  void CheckContent(const Live& live) const {
    for (int32_t p = 0; p < live.computed; ++p) {
      const auto& block = memory_[Index(live.blocks[static_cast<size_t>(p / kBlockTokens)])];
      ASSERT_EQ(block[static_cast<size_t>(p % kBlockTokens)],
                HashOf(live.space, std::span(live.tokens).first(static_cast<size_t>(p) + 1)))
          << "position " << p;
    }
  }

  bool Cover(Live& live, int32_t tokens) {
    const int32_t missing = BlocksFor(tokens) - static_cast<int32_t>(live.blocks.size());
    if (missing <= 0) return true;
    if (missing > pool_.available()) Evict(missing - pool_.available());
    auto blocks = pool_.TryAcquire(missing);
    if (!blocks) return false;
    for (BlockRef& block : *blocks) live.blocks.push_back(std::move(block));
    return true;
  }

  void Compute(Live& live) {
    const int32_t left = static_cast<int32_t>(live.tokens.size()) - live.computed;
    const int32_t count = std::min(left, Below(60) + 1);
    if (!Cover(live, live.computed + count)) return;
    for (int32_t i = 0; i < count; ++i, ++live.computed) {
      const auto p = static_cast<size_t>(live.computed);
      memory_[Index(live.blocks[p / kBlockTokens])][p % kBlockTokens] =
          HashOf(live.space, std::span(live.tokens).first(p + 1));
    }
    if (Below(4) > 0) Extend(live, Below(2) == 0);
  }

  void Extend(Live& live, bool with_tail) {
    const auto known = static_cast<size_t>(with_tail ? live.computed
                                                     : live.computed / kBlockTokens * kBlockTokens);
    const Tokens computed(live.tokens.begin(),
                          live.tokens.begin() + static_cast<std::ptrdiff_t>(known));
    std::vector<BlockId> own;
    for (const BlockRef& block : live.blocks) own.push_back(block.id());
    tree_.Extend(live.cursor, live.space, computed, live.blocks);
    ASSERT_EQ(live.cursor.blocks, static_cast<int32_t>(known) / kBlockTokens);
    for (size_t first = 0; first < computed.size(); first += kBlockTokens) {
      const size_t end = std::min(first + kBlockTokens, computed.size());
      Learn(live.space,
            Tokens(computed.begin(), computed.begin() + static_cast<std::ptrdiff_t>(end)),
            own[first / kBlockTokens], live.blocks[first / kBlockTokens].id());
    }
    CheckContent(live);
  }

  // The naive rule of Extend for one block: what is there stays, what is shorter goes.
  void Learn(const std::string& space, const Tokens& tokens, BlockId own, BlockId now) {
    const Known fresh{space, tokens, own};
    const auto same_place = [&](const Known& known) {
      return known.space == space && known.index() == fresh.index();
    };
    for (const Known& known : known_) {
      if (!same_place(known) || known.tokens.size() < tokens.size()) continue;
      if (CommonPrefix(known.tokens, tokens) < static_cast<int32_t>(tokens.size())) continue;
      const bool whole = tokens.size() % kBlockTokens == 0;
      ASSERT_EQ(now, whole ? known.block : own);
      totals_.shared += now != own;
      return;
    }
    ASSERT_EQ(now, own);
    totals_.absorbed += static_cast<int64_t>(std::erase_if(known_, [&](const Known& known) {
      return same_place(known) &&
             CommonPrefix(known.tokens, tokens) == static_cast<int32_t>(known.tokens.size());
    }));
    known_.push_back(fresh);
  }

  void Finish() {
    const auto at = Below(static_cast<int32_t>(live_.size()));
    Live& live = live_[static_cast<size_t>(at)];
    if (Below(3) > 0) Extend(live, true);
    tree_.Touch(live.cursor);
    live_.erase(live_.begin() + at);
  }

  void Evict(int32_t count) {
    const int32_t expected = std::min(count, pool_.reclaimable());
    const int32_t before = pool_.available();
    ASSERT_EQ(tree_.Evict(count), expected);
    ASSERT_EQ(pool_.available(), before + expected);
    std::set<BlockId> used;
    for (const Live& live : live_) {
      for (const BlockRef& block : live.blocks) used.insert(block.id());
    }
    const auto gone = std::erase_if(known_, [&](const Known& known) {
      const auto length = static_cast<int32_t>(known.tokens.size());
      if (tree_.Count(known.space, known.tokens) == length) return false;
      EXPECT_FALSE(used.contains(known.block)) << "evicted, but in use";
      EXPECT_FALSE(known.pinned);
      return true;
    });
    ASSERT_EQ(static_cast<int32_t>(gone), expected);
    totals_.evicted += expected;
  }

  void PinOrUnpin() {
    if (known_.empty()) return;
    const Known what = known_[static_cast<size_t>(Below(static_cast<int32_t>(known_.size())))];
    if (Below(3) > 0) {
      const int32_t pinned = tree_.Pin(what.space, what.tokens);
      totals_.pins += pinned;
      for (Known& known : known_) {
        if (known.space == what.space && known.index() < pinned && IsBeginning(known, what)) {
          known.pinned = true;
        }
      }
    } else {
      tree_.Unpin(what.space, what.tokens);
      // The naive rule: deepest first, those that begin nothing else that is pinned.
      for (int32_t index = what.index(); index >= 0; --index) {
        for (Known& known : known_) {
          if (known.index() == index && IsBeginning(known, what) && !BeginsPinned(known)) {
            known.pinned = false;
          }
        }
      }
    }
  }

  static bool IsBeginning(const Known& known, const Known& of) {
    return known.space == of.space && known.tokens.size() % kBlockTokens == 0 &&
           CommonPrefix(known.tokens, of.tokens) == static_cast<int32_t>(known.tokens.size());
  }

  bool BeginsPinned(const Known& known) const {
    return std::any_of(known_.begin(), known_.end(), [&](const Known& other) {
      return other.pinned && other.tokens.size() > known.tokens.size() && IsBeginning(known, other);
    });
  }

  void Check() {
    ASSERT_TRUE(tree_.IsConsistent());
    std::set<BlockId> held;
    for (const Live& live : live_) {
      for (const BlockRef& block : live.blocks) held.insert(block.id());
    }
    int32_t pinned = 0;
    for (const Known& known : known_) {
      held.insert(known.block);
      pinned += known.pinned;
      ASSERT_EQ(tree_.Count(known.space, known.tokens), static_cast<int32_t>(known.tokens.size()));
    }
    ASSERT_EQ(pool_.held(), static_cast<int32_t>(held.size()));
    ASSERT_EQ(pool_.available() + pool_.held(), pool_.capacity());
    ASSERT_EQ(tree_.stats().nodes, static_cast<int32_t>(known_.size()));
    ASSERT_EQ(tree_.stats().pinned, pinned);
    ASSERT_LE(pinned, pool_.capacity() / 2);
  }

  CounterRng rng_;
  Totals& totals_;
  BlockPool pool_;
  PrefixTree tree_;
  std::vector<std::vector<uint64_t>> memory_;  // [block][slot]
  std::vector<Live> live_;
  std::vector<Known> known_;
  std::vector<Tokens> history_;
};

TEST(PrefixTreePropertyTest, TwoHundredThousandRandomOperations) {
  constexpr uint64_t kWorlds = 400;
  constexpr int kOperations = 500;
  Totals totals;
  for (uint64_t seed = 0; seed < kWorlds; ++seed) {
    World world(seed, totals);
    for (int i = 0; i < kOperations; ++i) {
      world.Step();
      if (HasFatalFailure() || HasNonfatalFailure()) FAIL() << "world " << seed << ", step " << i;
    }
    world.End();
    if (HasFatalFailure() || HasNonfatalFailure()) FAIL() << "world " << seed << ", at the end";
  }
  // The test is worth something only if it went where it hurts.
  EXPECT_GT(totals.whole_hits, 2000);
  EXPECT_GT(totals.partial_hits, 2000);
  EXPECT_GT(totals.evicted, 5000);
  EXPECT_GT(totals.shared, 100);
  EXPECT_GT(totals.absorbed, 1000);
  EXPECT_GT(totals.pins, 1000);
}

}  // namespace
}  // namespace millrace
