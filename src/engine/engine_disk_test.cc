// The prefix cache's disk tier under an engine: evicted and shut down, found again, never wrong.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "engine/engine_test_util.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

class EngineDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::temp_directory_path() / "millrace_engine_disk_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override {
    engine_.reset();
    fs::remove_all(root_);
  }
  void Make(int32_t blocks = 64, const std::string& identity = "fake",
            EngineConfig::DiskUse use = EngineConfig::DiskUse::kAlways, Clock clock = Clock()) {
    engine_.reset();
    auto tier =
        DiskTier::Open({.directory = root_ / "cache",
                        .identity = identity,
                        .block_bytes = KvStore::BlockBytes(FakeModel::Shape(), KvType::kF32)});
    CHECK(tier.ok());
    EngineConfig config;
    config.disk_use = use;
    config.scheduler.max_chunk = 64;
    auto model = std::make_unique<FakeModel>(kTestVocab);
    model->on_batch = [this](const Batch& batch) {
      if (on_forward_) on_forward_();
      for (const BatchSequence& s : batch.sequences) {
        rows_ += static_cast<int64_t>(s.tokens.size());
      }
    };
    engine_ = std::make_unique<Engine>(config, std::move(model), MakeKv(blocks), std::move(clock),
                                       std::move(tier).value());
  }
  // The prompt tokens that were not computed; the answer must be right.
  int32_t Cached(const Request& request) {
    const int64_t before = rows_;
    const auto id = engine_->Submit(request, recorder_.Sink());
    CHECK(id.ok());
    while (engine_->Step()) {
    }
    EXPECT_EQ(recorder_.Of(*id).tokens, OutputAlone(request));
    const RequestTimings timings = recorder_.Of(*id).finishes.at(0).timings;
    EXPECT_EQ(rows_ - before,
              timings.prompt_tokens - timings.cached_tokens + request.max_tokens - 1);
    recorder_.Clear();
    return timings.cached_tokens;
  }
  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(root_)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    return files;
  }

  fs::path root_;
  Recorder recorder_;
  std::unique_ptr<Engine> engine_;
  std::function<void()> on_forward_;
  int64_t rows_ = 0;
};

TEST_F(EngineDiskTest, ARestartFindsWhatWasComputed) {
  Make();
  const Request request = MakeRequest(200, 4, 1);
  EXPECT_EQ(Cached(request), 0);
  Make();  // writes, and opens again
  EXPECT_EQ(Files().size(), 6u);
  EXPECT_EQ(Cached(request), 192);
  EXPECT_EQ(engine_->stats().disk.loaded, 6);
  EXPECT_EQ(Cached(request), 199);
  EXPECT_EQ(engine_->stats().disk.loaded, 6);
  Request other = request;
  other.cache_space = "another";
  EXPECT_EQ(Cached(other), 0);
}

TEST_F(EngineDiskTest, WhatIsEvictedComesBack) {
  Make(12);
  const Request first = MakeRequest(200, 4, 1);
  Cached(first);
  for (uint64_t salt = 2; salt < 6; ++salt) Cached(MakeRequest(300, 4, salt));
  EXPECT_GT(engine_->stats().prefix_evictions, 6);
  Make(12);  // all that was queued is written
  EXPECT_EQ(Cached(first), 192);
}

TEST_F(EngineDiskTest, AnotherModelsBlocksAreNotTaken) {
  Make(64, "model A");
  const Request request = MakeRequest(200, 4, 1);
  Cached(request);
  Make(64, "model B");
  EXPECT_EQ(Cached(request), 0);
}

TEST_F(EngineDiskTest, DamagedBlocksAreComputedAgain) {
  const Request request = MakeRequest(200, 4, 1);
  Make();
  Cached(request);
  engine_.reset();
  const std::vector<fs::path> files = Files();
  ASSERT_EQ(files.size(), 6u);
  for (const fs::path& path : files) {
    {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(500);
      file.write("damage", 6);
    }
    Make();
    EXPECT_LT(Cached(request), 192);
    EXPECT_EQ(engine_->stats().disk.damaged, 1);
    engine_.reset();  // mends it
    EXPECT_EQ(Files().size(), 6u);
  }
  Make();
  EXPECT_EQ(Cached(request), 192);
}

TEST_F(EngineDiskTest, RandomRequestsOverManyRestarts) {
  CounterRng rng(5, 0);
  const auto below = [&](int32_t bound) {
    return static_cast<int32_t>(rng.NextU64() % static_cast<uint64_t>(bound));
  };
  int64_t cached = 0, loaded = 0;
  for (int round = 0; round < 20; ++round) {
    const int32_t blocks = 10 + below(20);
    Make(blocks);
    for (int i = 0; i < 12; ++i) {
      const int32_t length = 10 + below(280);
      Request request = MakeRequest(length, 5, rng.NextU64());
      const auto common = MakePrompt(1 + below(length), static_cast<uint64_t>(below(3)));
      std::copy(common.begin(), common.end(), request.prompt.begin());
      cached += Cached(request);
    }
    loaded += engine_->stats().disk.loaded;
  }
  EXPECT_GT(cached, 5000);
  EXPECT_GT(loaded, 100);
}

// While others run, loading takes no more of a step than its budget, and the request waits for all.
TEST_F(EngineDiskTest, LoadingDoesNotStallOthers) {
  const Request request = MakeRequest(1000, 4, 1);
  Make();
  Cached(request);
  // Every look at the clock takes 8 ms: two loads for each step.
  auto now = std::make_shared<int64_t>(0);
  Make(128, "fake", EngineConfig::DiskUse::kAlways,
       Clock([now] { return TimePoint(Duration(*now += 8'000'000)); }));
  const auto running = engine_->Submit(MakeRequest(5, 100, 2), recorder_.Sink());
  ASSERT_TRUE(running.ok());
  engine_->Step();
  const auto id = engine_->Submit(request, recorder_.Sink());
  ASSERT_TRUE(id.ok());
  int64_t loaded = 0;
  int steps = 0;
  while (engine_->stats().running < 2) {
    ASSERT_TRUE(engine_->Step());
    const int64_t now_loaded = engine_->stats().disk.loaded;
    EXPECT_LE(now_loaded - loaded, 2);
    loaded = now_loaded;
    ++steps;
  }
  EXPECT_GE(steps, 15);
  while (engine_->Step()) {
  }
  EXPECT_EQ(recorder_.Of(*id).finishes.at(0).timings.cached_tokens, 31 * kBlockTokens);
  EXPECT_EQ(recorder_.Of(*id).tokens, OutputAlone(request));
}

TEST_F(EngineDiskTest, IsUsedWhereItIsFasterThanComputing) {
  ManualClock time;
  on_forward_ = [&] { time.Advance(Duration(1)); };
  Make(64, "fake", EngineConfig::DiskUse::kMeasured, time.clock());  // loading takes no time here
  EXPECT_TRUE(engine_->stats().disk_in_use);
  EXPECT_EQ(engine_->stats().disk_block_compute, Duration(1));
  engine_.reset();
  fs::remove_all(root_ / "cache");
  // Now loading takes time (three pairs of looks at the clock) and computing, after it, takes none.
  on_forward_ = nullptr;
  auto looks = std::make_shared<int64_t>(0);
  Make(64, "fake", EngineConfig::DiskUse::kMeasured,
       Clock([looks] { return TimePoint(Duration(1000 * std::min<int64_t>(++*looks, 6))); }));
  EXPECT_FALSE(engine_->stats().disk_in_use);
  EXPECT_EQ(engine_->stats().disk_block_load, Duration(1000));
  EXPECT_EQ(engine_->stats().disk_block_compute, Duration(0));
  const Request request = MakeRequest(200, 4, 1);
  rows_ = 0;
  Cached(request);
  engine_.reset();
  EXPECT_TRUE(Files().empty());
}

}  // namespace
}  // namespace millrace
