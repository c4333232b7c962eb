// The demo model's answers to its held-out questions are the same tokens with every drafter as
// without: greedy and by temperature, 1, 4 and 16 streams, arriving at random, with drafts that are
// made whether they pay or not, and as the controller decides.
#include <gtest/gtest.h>

#include <random>

#include "answering.h"
#include "embedded_model.h"
#include "model_loading.h"

namespace millrace {
namespace {

using Answers = std::vector<std::vector<TokenId>>;

struct Asking {
  const char* speculate = "off";
  int32_t streams = 1;
  std::optional<int32_t> fixed_draft = std::nullopt;
  double temperature = 0;
};

class SpeculationTest : public testing::Test {
 protected:
  static constexpr size_t kEvery = 60;  // of the 1,200 questions

  static void SetUpTestSuite() {
    auto items = ParseTask(EmbeddedTask(), "the demo task");
    ASSERT_TRUE(items.ok()) << items.error().message;
    for (size_t i = 0; i < items->size(); i += kEvery) items_.push_back((*items)[i]);
  }

  // Each question is asked twice, the second time with its answer among the recent outputs.
  static Answers Ask(const Asking& asking, SpeculationStats& stats) {
    ModelFlags flags;
    flags.speculate = asking.speculate;
    flags.max_running = asking.streams;
    flags.threads = 2;
    flags.kv_memory = "64MiB";
    auto loaded = LoadModel(flags);
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    EngineConfig config;
    config.speculation.fixed_draft = asking.fixed_draft;
    auto engine = MakeEngine(flags, *loaded, config);
    EXPECT_TRUE(engine.ok()) << engine.error().message;
    const auto stops = loaded->tokenizer->end_of_generation();
    std::mt19937 random(static_cast<uint32_t>(asking.streams));
    Answers answers(2 * items_.size());
    for (size_t i = 0; i < answers.size(); ++i) {
      Request request;
      request.prompt = EncodeQuestion(items_[i % items_.size()], *loaded).value();
      request.sampling.temperature = static_cast<float>(asking.temperature);
      request.sampling.seed = i;
      request.max_tokens = 48;
      request.stop_tokens.assign(stops.begin(), stops.end());
      const auto id = (*engine)->Submit(std::move(request), [&answers, i](const Event& event) {
        for (const Sampled& s : event.tokens) answers[i].push_back(s.token);
      });
      EXPECT_TRUE(id.ok()) << id.error().message;
      for (uint32_t steps = random() % 6; steps > 0; --steps) (*engine)->Step();
    }
    while ((*engine)->Step()) {
    }
    stats = (*engine)->stats().speculation;
    EXPECT_EQ((*engine)->stats().blocks_held, 0);
    return answers;
  }

  static int64_t Sum(const std::array<int64_t, kDrafterKinds>& counts) {
    return counts[0] + counts[1] + counts[2];
  }

  static std::vector<TaskItem> items_;
};

std::vector<TaskItem> SpeculationTest::items_;

TEST_F(SpeculationTest, AnswersAreTheSameTokensWithEveryDrafter) {
  for (const double temperature : {0.0, 1.0}) {
    SpeculationStats none;
    const Answers plain = Ask({.temperature = temperature}, none);
    EXPECT_EQ(Sum(none.drafted), 0);
    for (const char* drafter : {"lookup", "suffix", "draft", "auto"}) {
      SpeculationStats all;
      for (const int32_t streams : {1, 4, 16}) {
        SpeculationStats stats;
        const Answers answers = Ask({drafter, streams, 5, temperature}, stats);
        EXPECT_EQ(answers, plain) << drafter << ", " << streams << " streams";
        for (size_t kind = 0; kind < kDrafterKinds; ++kind) {
          all.drafted[kind] += stats.drafted[kind];
          all.accepted[kind] += stats.accepted[kind];
        }
      }
      // Worth something only where many were right and many wrong.
      EXPECT_GT(Sum(all.accepted), 100) << drafter;
      EXPECT_GT(Sum(all.drafted) - Sum(all.accepted), 20) << drafter;
    }
  }
}

TEST_F(SpeculationTest, AnswersAreTheSameTokensWhateverTheControllerDecides) {
  SpeculationStats stats;
  const Answers plain = Ask({}, stats);
  for (const char* drafter : {"lookup", "suffix", "draft", "auto"}) {
    EXPECT_EQ(Ask({drafter, 4}, stats), plain) << drafter;
  }
}

}  // namespace
}  // namespace millrace
