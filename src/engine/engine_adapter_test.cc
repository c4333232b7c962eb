// Requests under adapters: each gets the answer that it gets alone, and no block is ever shared by
// two adapters, in memory, on disk, or by waiting for a neighbour that begins alike. The fake
// model's logits depend on which adapter wrote each key.
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "engine/engine_test_util.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using Adapter = std::optional<AdapterId>;

constexpr Adapter kBaseModel = std::nullopt;
const Adapter kOne = AdapterId(0), kTwo = AdapterId(1);

class EngineAdapterTest : public testing::Test {
 protected:
  void Make(const EngineConfig& config = {}, std::vector<std::string> identities = {"one", "two"},
            const std::string& disk_directory = {}) {
    engine_.reset();
    recorder_.Clear();  // ids begin anew
    auto model = std::make_unique<FakeModel>(kTestVocab, 1 << 20, kHabit);
    for (const std::string& identity : identities) model->AddAdapter(identity, identity);
    model->on_batch = [this](const Batch& batch) {
      for (const BatchSequence& s : batch.sequences) rows_ += static_cast<int64_t>(s.tokens.size());
    };
    std::unique_ptr<DiskTier> disk;
    if (!disk_directory.empty()) {
      auto tier =
          DiskTier::Open({.directory = disk_directory,
                          .identity = "fake",
                          .block_bytes = KvStore::BlockBytes(FakeModel::Shape(), KvType::kF32)});
      CHECK(tier.ok());
      disk = std::move(tier).value();
    }
    auto draft =
        std::make_unique<DraftModel>(DraftModel{.model = std::make_unique<FakeModel>(kTestVocab),
                                                .kv = MakeKv(kBlocks),
                                                .context_length = 1 << 20});
    engine_ = std::make_unique<Engine>(config, std::move(model), MakeKv(kBlocks), Clock(),
                                       std::move(disk), std::nullopt, std::move(draft));
  }
  static Request Under(Adapter adapter, int32_t prompt = 200) {
    Request request = MakeRequest(prompt, 5, 1);
    request.adapter = adapter;
    return request;
  }
  // Serves all at once; returns the prompt tokens that each did not compute. The answers must be
  // right.
  std::vector<int32_t> Cached(const std::vector<Request>& requests) {
    std::vector<RequestId> ids;
    for (const Request& request : requests) {
      auto id = engine_->Submit(request, recorder_.Sink());
      CHECK(id.ok());
      ids.push_back(*id);
    }
    while (engine_->Step()) {
    }
    std::vector<int32_t> cached;
    for (size_t i = 0; i < ids.size(); ++i) {
      const Received received = recorder_.Of(ids[i]);
      EXPECT_EQ(received.tokens, OutputAlone(requests[i], kHabit)) << "request " << i;
      cached.push_back(received.finishes.at(0).timings.cached_tokens);
    }
    return cached;
  }
  using Counts = std::vector<int32_t>;

  static constexpr float kHabit = 7.0f;
  static constexpr int32_t kBlocks = 64;
  Recorder recorder_;
  std::unique_ptr<Engine> engine_;
  int64_t rows_ = 0;
};

TEST_F(EngineAdapterTest, TheSamePromptUnderTwoAdaptersSharesNoBlocks) {
  Make();
  for (const Adapter adapter : {kBaseModel, kOne, kTwo})
    EXPECT_EQ(Cached({Under(adapter)}), Counts{0});
  EXPECT_EQ(rows_, 3 * 204);
  for (const Adapter adapter : {kTwo, kOne, kBaseModel})
    EXPECT_EQ(Cached({Under(adapter)}), Counts{199});
  EXPECT_EQ(rows_, 3 * 204 + 3 * 5);
  // A namespace that reads like an adapter's is another one.
  Request request = Under(kBaseModel);
  request.cache_space =
      "\x01"
      "3:one";
  EXPECT_EQ(Cached({request}), Counts{0});
}

// The second of each waits until the first has computed the prompt; those of other adapters compute
// it themselves.
TEST_F(EngineAdapterTest, OnlyTheSameAdapterIsWaitedFor) {
  EngineConfig config;
  config.scheduler.max_chunk = 32;
  config.scheduler.max_step_tokens = 96;
  Make(config);
  const Counts cached = Cached(
      {Under(kBaseModel), Under(kOne), Under(kTwo), Under(kTwo), Under(kOne), Under(kBaseModel)});
  EXPECT_EQ((Counts{cached[0], cached[1], cached[2]}), (Counts{0, 0, 0}));
  for (const size_t i : {3u, 4u, 5u}) EXPECT_GE(cached[i], 192) << i;
  const int32_t saved = std::accumulate(cached.begin(), cached.end(), 0);
  EXPECT_EQ(rows_, 6 * 204 - saved);
}

TEST_F(EngineAdapterTest, PinnedAndUnpinnedUnderTheAdapter) {
  Make();
  Request request = Under(kOne);
  request.pin = PinAction::kPin;
  Cached({request});
  EXPECT_EQ(engine_->stats().blocks_pinned, 6);
  Request other = Under(kTwo);
  other.pin = PinAction::kUnpin;
  Cached({other});
  EXPECT_EQ(engine_->stats().blocks_pinned, 6);
  request.pin = PinAction::kUnpin;
  Cached({request});
  EXPECT_EQ(engine_->stats().blocks_pinned, 0);
}

TEST_F(EngineAdapterTest, BlocksOnDiskAreFoundByTheAdaptersIdentity) {
  std::string directory = fs::temp_directory_path() / "millrace_engine_adapter_XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  EngineConfig config;
  config.disk_use = EngineConfig::DiskUse::kAlways;
  Make(config, {"one", "two"}, directory);
  Cached({Under(kOne), Under(kTwo)});
  Make(config, {"one", "three"}, directory);
  EXPECT_EQ(Cached({Under(kBaseModel), Under(kOne), Under(kTwo)}), (Counts{0, 192, 0}));
  engine_.reset();
  fs::remove_all(directory);
}

TEST_F(EngineAdapterTest, DraftsAndForksUnderAdaptersGiveTheAnswersOfOneByOne) {
  EngineConfig config;
  config.speculation.mode = Speculation::kAuto;
  config.speculation.fixed_draft = 4;
  for (const Speculation mode : {Speculation::kSuffix, Speculation::kLookup, Speculation::kDraft}) {
    config.speculation.mode = mode;
    Make(config);
    std::vector<Request> requests;
    for (const Adapter adapter : {kOne, kBaseModel, kTwo, kOne}) {
      requests.push_back(Under(adapter, 50));
      requests.back().max_tokens = 60;
    }
    Cached(requests);
    const SpeculationStats stats = engine_->stats().speculation;
    EXPECT_GT(std::accumulate(stats.drafted.begin(), stats.drafted.end(), int64_t{0}), 50);

    Request forked = Under(kTwo, 70);
    std::vector<Engine::Fork> forks;
    for (uint64_t seed = 0; seed < 3; ++seed) {
      forks.push_back({forked.sampling, recorder_.Sink()});
      forks.back().sampling.temperature = 0.9f;
      forks.back().sampling.seed = seed;
    }
    const auto sampling = forks;
    const auto ids = engine_->SubmitForks(forked, std::move(forks));
    ASSERT_TRUE(ids.ok());
    while (engine_->Step()) {
    }
    for (size_t i = 0; i < 3; ++i) {
      forked.sampling = sampling[i].sampling;
      EXPECT_EQ(recorder_.Of((*ids)[i]).tokens, OutputAlone(forked, kHabit)) << i;
    }
  }
}

TEST_F(EngineAdapterTest, AnUnknownAdapterIsRefused) {
  Make();
  for (const int32_t id : {-1, 2}) {
    const auto refused = engine_->Submit(Under(AdapterId(id)), recorder_.Sink());
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().message,
              "The request asks for adapter " + std::to_string(id) + ", but the model has 2.");
  }
  EXPECT_FALSE(engine_->Step());
}

}  // namespace
}  // namespace millrace
