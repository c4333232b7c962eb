#include "speculative_decoding/draft_lengths.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace millrace {
namespace {

DraftOffer Offer(DrafterKind kind, double rate, int32_t length) {
  DraftOffer offer{.kind = kind, .length = length};
  double chance = 1;
  for (int32_t i = 0; i < length; ++i) offer.chance[static_cast<size_t>(i)] = chance *= rate;
  return offer;
}

// A step takes 10 ms, and so much more for each drafted row.
StepPrices Prices(double row, double draft_step = 0) {
  return {.step = [row](int32_t drafted) { return 0.010 + row * drafted; },
          .draft_step = [draft_step](int32_t) { return draft_step; }};
}

TEST(DraftLengthsTest, LongWhereRowsAreCheapAndProposalsRight) {
  const std::vector<DraftOffer> offers = {Offer(DrafterKind::kLookup, 0.95, 12)};
  const std::vector<SequenceOffer> one = {{.offers = offers}};
  const auto cheap = ChooseDraftLengths(one, {}, Prices(0.0001));
  EXPECT_EQ(cheap.choices[0].length, 12);
  EXPECT_GT(cheap.gain, 5);
  const auto dear = ChooseDraftLengths(one, {}, Prices(0.006));
  EXPECT_LT(dear.choices[0].length, 6);
  EXPECT_EQ(ChooseDraftLengths(one, {}, Prices(0.010)).choices[0].length, 0);
}

// The length is the best of all, by trying every one.
TEST(DraftLengthsTest, TheLengthIsTheBestForOneSequence) {
  for (const double rate : {0.3, 0.6, 0.8, 0.9, 0.99}) {
    for (const double row : {0.0002, 0.001, 0.003, 0.005}) {
      const std::vector<DraftOffer> offers = {Offer(DrafterKind::kModel, rate, 12)};
      const std::vector<SequenceOffer> one = {{.offers = offers}};
      const auto decision = ChooseDraftLengths(one, {}, Prices(row, 0.0005));
      int32_t best = 0;
      double most = 1.03, tokens = 1, chance = 1;
      for (int32_t n = 1; n <= 12; ++n) {
        tokens += chance *= rate;
        const double gain = tokens * 0.010 / (0.010 + n * (row + 0.0005));
        if (gain > most) {
          most = gain;
          best = n;
        }
      }
      EXPECT_EQ(decision.choices[0].length, best) << rate << " " << row;
    }
  }
}

TEST(DraftLengthsTest, TheDrafterThatGainsMost) {
  const std::vector<DraftOffer> offers = {Offer(DrafterKind::kLookup, 0.5, 12),
                                          Offer(DrafterKind::kModel, 0.95, 12)};
  const std::vector<SequenceOffer> one = {{.offers = offers}};
  EXPECT_EQ(ChooseDraftLengths(one, {}, Prices(0.0005, 0.0001)).choices[0].kind,
            DrafterKind::kModel);
  EXPECT_EQ(ChooseDraftLengths(one, {}, Prices(0.0005, 0.008)).choices[0].kind,
            DrafterKind::kLookup);
}

TEST(DraftLengthsTest, RowsGoWhereTheyAreMostLikelyRight) {
  const std::vector<DraftOffer> good = {Offer(DrafterKind::kLookup, 0.95, 12)};
  const std::vector<DraftOffer> bad = {Offer(DrafterKind::kLookup, 0.2, 12)};
  const std::vector<SequenceOffer> two = {{.offers = bad, .slack = 1},
                                          {.offers = good, .slack = 1}};
  const auto decision = ChooseDraftLengths(two, {}, Prices(0.002));
  EXPECT_GT(decision.choices[1].length, decision.choices[0].length);
}

TEST(DraftLengthsTest, NobodyPaysForTheDraftsOfOthers) {
  const std::vector<DraftOffer> offers = {Offer(DrafterKind::kLookup, 0.99, 12)};
  const std::vector<SequenceOffer> greedy(8, {.offers = offers, .slack = 0.001});
  for (const double slack : {0.0, 0.0003, 0.001, 1.0}) {
    const std::vector<double> neighbour = {slack};
    const auto decision = ChooseDraftLengths(greedy, neighbour, Prices(0.00005));
    int32_t rows = 0;
    for (const DraftChoice& choice : decision.choices) rows += choice.length;
    EXPECT_LE(0.00005 * rows, slack + 1e-12);
    EXPECT_EQ(rows == 0, slack == 0.0);
  }
}

}  // namespace
}  // namespace millrace
