// What the engine says of its KV memory: the map of blocks and the fragmentation.
#include <gtest/gtest.h>

#include <numeric>

#include "engine/engine_test_util.h"

namespace millrace {
namespace {

class EngineKvTest : public testing::Test {
 protected:
  void Make(EngineConfig config = {}, int32_t blocks = 16) {
    engine_ =
        std::make_unique<Engine>(config, std::make_unique<FakeModel>(kTestVocab), MakeKv(blocks));
  }
  RequestId Submit(const Request& request) {
    auto id = engine_->Submit(request, recorder_.Sink());
    CHECK(id.ok());
    return *id;
  }
  // As it is before the next step, which is made, too.
  KvMap MapThenStep() {
    std::optional<KvMap> map;
    engine_->InspectKv([&map](const KvMap& seen) { map = seen; });
    EXPECT_FALSE(map.has_value()) << "not before the engine's thread gets to it";
    engine_->Step();
    return map.value();
  }

  Recorder recorder_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineKvTest, TheMapSaysWhoHasWhichBlockAndHowFull) {
  Make();
  Request first = MakeRequest(70, 20, 1);
  Request second = MakeRequest(40, 20, 1);  // the same first block
  second.prompt[39] = TokenId(0);
  const RequestId a = Submit(first);
  engine_->Step();
  const RequestId b = Submit(second);
  engine_->Step();  // admits the second; the first has computed 71
  const KvMap map = MapThenStep();
  ASSERT_EQ(map.blocks.size(), 16u);
  std::vector<int32_t> free_shared_first_second(4);
  for (const KvBlockUse& use : map.blocks) {
    EXPECT_EQ(use.holders == 0, use.requests.empty() && !use.cached);
    if (use.holders == 0) ++free_shared_first_second[0];
    if (use.requests == std::vector{a, b}) {
      ++free_shared_first_second[1];
      EXPECT_EQ(use.holders, 3);  // both, and the cache
      EXPECT_EQ(use.filled, 32);
      EXPECT_TRUE(use.cached);
    }
    if (use.requests == std::vector{a}) ++free_shared_first_second[2];
    if (use.requests == std::vector{b}) {
      ++free_shared_first_second[3];
      EXPECT_EQ(use.filled, 8);
    }
  }
  EXPECT_EQ(free_shared_first_second, (std::vector{12, 1, 2, 1}));
  while (engine_->Step()) {
  }
  const KvMap after = MapThenStep();
  for (const KvBlockUse& use : after.blocks) {
    EXPECT_TRUE(use.requests.empty());
    EXPECT_EQ(use.holders, use.cached ? 1 : 0);
  }
}

TEST_F(EngineKvTest, UnusedSlotsAreThoseBehindWhatIsComputed) {
  Make({.prefix_cache = false});
  Submit(MakeRequest(70, 20, 1));
  engine_->Step();
  EXPECT_EQ(engine_->stats().kv.unused_slots, 96 - 70);
  engine_->Step();
  EXPECT_EQ(engine_->stats().kv.unused_slots, 96 - 71);
  EXPECT_EQ(engine_->stats().kv.unusable_blocks, 0);
  EXPECT_EQ(engine_->stats().kv_over_steps.steps, 2);
  EXPECT_EQ(engine_->stats().kv_over_steps.held, 96 + 96);
  EXPECT_EQ(engine_->stats().kv_over_steps.unused, (96 - 70) + (96 - 71));
  EXPECT_EQ(engine_->stats().kv_over_steps.unusable, 0);
  while (engine_->Step()) {
  }
  EXPECT_EQ(engine_->stats().kv.unused_slots, 0);
}

TEST_F(EngineKvTest, AStoppedEngineGivesAnEmptyMap) {
  Make();
  engine_->Stop();
  std::optional<size_t> blocks;
  engine_->InspectKv([&blocks](const KvMap& map) { blocks = map.blocks.size(); });
  EXPECT_EQ(blocks, 0u);
}

}  // namespace
}  // namespace millrace
