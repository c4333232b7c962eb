// The controller on a simulated machine: texts that draft well and badly, prices that favour drafts
// or not, neighbours.
#include "speculative_decoding/speculator.h"

#include <gtest/gtest.h>

#include <map>

#include "base/rng.h"

namespace millrace {
namespace {

// A machine whose steps take base + row * further rows, and whose requests say texts known
// beforehand.
class Simulation {
 public:
  Simulation(Speculation mode, double row)
      : row_(row), speculator_({.mode = mode, .max_draft = 12}, 1 << 20) {}

  void Add(std::vector<TokenId> text, size_t prompt) {
    const RequestId id(static_cast<int64_t>(texts_.size()));
    texts_.push_back({id, std::move(text), prompt});
  }

  // Until the first request has said its text; the others begin again when theirs is over.
  double Run() {
    Sampler sampler({.temperature = 0}, 1 << 20);
    while (texts_[0].known < texts_[0].tokens.size()) Step(sampler);
    return seconds_;
  }
  double plain_seconds() const { return kBase * plain_steps_; }
  const SpeculationStats& stats() const { return speculator_.stats(); }
  int64_t drafted() const {
    int64_t sum = 0;
    for (const int64_t count : stats().drafted) sum += count;
    return sum;
  }

 private:
  static constexpr double kBase = 0.010;
  struct Text {
    RequestId id;
    std::vector<TokenId> tokens;
    size_t known;
  };

  void Step(Sampler& sampler) {
    std::vector<SpeculationSlot> slots;
    for (const Text& text : texts_) {
      const size_t left = text.tokens.size() - text.known;
      slots.push_back({.task = {.request = text.id,
                                .tokens = std::span(text.tokens).first(text.known),
                                .sampler = &sampler,
                                .block_table = {}},
                       .room = static_cast<int32_t>(std::min<size_t>(left - 1, 12)),
                       .room_to_limit = static_cast<int32_t>(left),
                       .mode = Speculation::kAuto});
    }
    int64_t depth = 0;
    for (const SpeculationSlot& slot : slots)
      depth += static_cast<int64_t>(slot.task.tokens.size());
    if (speculator_.Begin(static_cast<int32_t>(slots.size()), depth, 0)) {
      speculator_.Plan(slots);
      speculator_.Draft(slots);
    }
    int32_t rows = 0;
    for (size_t i = 0; i < slots.size(); ++i) {
      Text& text = texts_[i];
      const auto& draft = slots[i].task.draft;
      ASSERT_LE(draft.size(), static_cast<size_t>(slots[i].room));
      rows += static_cast<int32_t>(draft.size());
      size_t right = 0;
      while (right < draft.size() && draft[right] == text.tokens[text.known + right]) ++right;
      std::vector<Sampled> said;
      for (size_t k = 0; k <= right; ++k)
        said.push_back({.token = text.tokens[text.known + k], .top_logprobs = {}});
      speculator_.Verified(slots[i], said, static_cast<int32_t>(right));
      text.known += said.size();
      if (i == 0) plain_steps_ += static_cast<double>(said.size());
    }
    const double took = kBase + row_ * rows;
    seconds_ += took;
    speculator_.Observe(slots, Duration(0), Duration(static_cast<int64_t>(took * 1e9)));
    for (size_t i = 1; i < texts_.size(); ++i) {
      if (texts_[i].known >= texts_[i].tokens.size()) texts_[i].known = 20;
    }
  }

  double row_;
  Speculator speculator_;
  std::vector<Text> texts_;
  double seconds_ = 0;
  double plain_steps_ = 0;
};

std::vector<TokenId> Repetitive(size_t length, uint64_t seed) {
  std::vector<TokenId> text;
  CounterRng rng(seed, 2);
  std::vector<TokenId> phrase;
  for (int i = 0; i < 15; ++i) phrase.emplace_back(static_cast<int32_t>(rng.NextU64() % 1000));
  while (text.size() < length) text.insert(text.end(), phrase.begin(), phrase.end());
  text.resize(length);
  return text;
}

// Pairs come again, but what follows them does not.
std::vector<TokenId> Misleading(size_t length, uint64_t seed) {
  std::vector<TokenId> text;
  CounterRng rng(seed, 3);
  while (text.size() < length) {
    text.insert(text.end(), {TokenId(1), TokenId(2)});
    text.emplace_back(static_cast<int32_t>(10 + rng.NextU64() % 100'000));
  }
  text.resize(length);
  return text;
}

TEST(SpeculatorTest, TextThatRepeatsIsMuchFaster) {
  Simulation simulation(Speculation::kAuto, 0.0002);
  simulation.Add(Repetitive(600, 1), 40);
  const double took = simulation.Run();
  EXPECT_LT(took, 0.25 * simulation.plain_seconds());
  EXPECT_GT(simulation.stats().saved, Duration(0));
}

TEST(SpeculatorTest, TextThatMisleadsCostsNextToNothing) {
  for (const double row : {0.0005, 0.002, 0.008}) {
    Simulation simulation(Speculation::kAuto, row);
    simulation.Add(Misleading(1500, 1), 40);
    const double took = simulation.Run();
    EXPECT_LT(took, 1.02 * simulation.plain_seconds()) << row;
  }
}

TEST(SpeculatorTest, NothingIsDraftedWhereRowsCostAsMuchAsSteps) {
  Simulation simulation(Speculation::kAuto, 0.010);
  simulation.Add(Repetitive(600, 1), 40);
  const double took = simulation.Run();
  EXPECT_LT(took, 1.02 * simulation.plain_seconds());
}

TEST(SpeculatorTest, ItComesBackWhenTheTextChanges) {
  Simulation simulation(Speculation::kAuto, 0.0005);
  std::vector<TokenId> text = Misleading(800, 1);
  const auto more = Repetitive(800, 2);
  text.insert(text.end(), more.begin(), more.end());
  simulation.Add(std::move(text), 40);
  const double took = simulation.Run();
  EXPECT_LT(took, 0.75 * simulation.plain_seconds());
}

TEST(SpeculatorTest, RepetitiveNeighboursDoNotSlowARequestDown) {
  for (const double row : {0.0002, 0.001, 0.003}) {
    Simulation simulation(Speculation::kAuto, row);
    simulation.Add(Misleading(1000, 1), 40);
    for (uint64_t i = 0; i < 7; ++i) simulation.Add(Repetitive(400, 10 + i), 40);
    const double took = simulation.Run();
    EXPECT_LT(took, 1.05 * simulation.plain_seconds()) << row;
    EXPECT_GT(simulation.drafted(), 0) << row;
  }
}

TEST(SpeculatorTest, OffCostsNothing) {
  Speculator speculator({.mode = Speculation::kOff}, 100);
  EXPECT_FALSE(speculator.active());
  EXPECT_FALSE(speculator.has_draft_model());
}

}  // namespace
}  // namespace millrace
