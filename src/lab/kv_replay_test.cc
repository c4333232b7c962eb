#include "lab/kv_replay.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

std::vector<TraceRequest> Same(int32_t count, int32_t input, int32_t output) {
  return std::vector<TraceRequest>(static_cast<size_t>(count), {0, input, output, {}});
}

TEST(ReplayAdmission, AContiguousMemoryHoldsAsManyAsItHasRegions) {
  const auto trace = Same(40, 100, 28);  // 128 tokens, four blocks
  AdmissionReplay options{.layout = KvLayout::kContiguous, .blocks = 64, .context = 512};
  const AdmissionFigures context = ReplayAdmission(trace, options);
  EXPECT_EQ(context.requests, 40);
  EXPECT_EQ(context.most_running, 4);
  EXPECT_EQ(context.preemptions, 0);
  EXPECT_GT(context.unused, 0.7);
  options.reserve = Reserve::kOracle;
  EXPECT_EQ(ReplayAdmission(trace, options).most_running, 16);
  options.reserve = Reserve::kLongestAnswer;
  EXPECT_EQ(ReplayAdmission(trace, options).most_running, 16);
}

TEST(ReplayAdmission, PagedTakesWhatIsFilled) {
  const auto trace = Same(40, 100, 28);
  const AdmissionFigures paged = ReplayAdmission(trace, {.blocks = 64, .context = 512});
  EXPECT_EQ(paged.requests, 40);
  EXPECT_EQ(paged.most_running, 12);  // each has four blocks, and one more is kept for it
  EXPECT_EQ(paged.unusable, 0);
  EXPECT_LT(paged.unused, 0.25);
}

TEST(ReplayAdmission, LengthsAreScaledAndCutToTheContext) {
  const auto trace = Same(5, 1000, 100);
  const AdmissionFigures cut = ReplayAdmission(trace, {.blocks = 16, .context = 512});
  EXPECT_EQ(cut.requests, 5);
  EXPECT_EQ(cut.most_running, 1);
  const AdmissionFigures scaled =
      ReplayAdmission(trace, {.blocks = 16, .context = 512, .scale = 0.1});
  EXPECT_EQ(scaled.most_running, 3);
}

// 40 conversations of three turns, each beginning with what the turn before had.
std::vector<TraceRequest> Conversations() {
  std::vector<TraceRequest> trace;
  for (int64_t turn = 1; turn <= 3; ++turn) {
    for (int64_t chat = 0; chat < 40; ++chat) {
      TraceRequest request{
          static_cast<double>(trace.size()), static_cast<int32_t>(turn * 1024), 64, {}};
      for (int64_t block = 0; block < turn * 2; ++block) {
        request.prefix_blocks.push_back(chat * 100 + block);
      }
      trace.push_back(request);
    }
  }
  return trace;
}

TEST(ReplayPrefixes, WithEnoughMemoryFindsWhatTheIdealFinds) {
  const auto trace = Conversations();
  EXPECT_EQ(DistinctBlocks(trace), 240);
  const PrefixFigures ideal = IdealPrefixes(trace, 32);
  EXPECT_EQ(ideal.blocks, 40 * (2 + 4 + 6));
  EXPECT_EQ(ideal.hits, 40 * (0 + 2 + 4));
  const PrefixFigures found = ReplayPrefixes(trace, {.blocks = 1000});
  EXPECT_EQ(found.blocks, ideal.blocks);
  EXPECT_EQ(found.hits, ideal.hits);
  EXPECT_EQ(found.evicted, 0);
  // Every row is counted: prompts but for what was found, and answers but for their last tokens.
  EXPECT_EQ(found.computed, found.tokens - found.cached + 120 * (4 - 1));
}

TEST(ReplayPrefixes, WithLittleMemoryFindsLess) {
  const auto trace = Conversations();
  const PrefixFigures found = ReplayPrefixes(trace, {.blocks = 16});
  EXPECT_EQ(found.blocks, 480);
  EXPECT_LT(found.hits, 100);
  EXPECT_GT(found.evicted, 100);
}

}  // namespace
}  // namespace millrace
