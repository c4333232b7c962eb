// The same requests alone, batched with random others, with prefill chunks of 1, 7, 32 and 512,
// with forced preemption, swapped out and in, with and without the prefix cache (whole blocks,
// parts of blocks, eviction, from disk), as forks of one prompt, with static batching, with
// contiguous memory (moved together, too), and on 1 to 4 threads give the same logits.
#include "tests/end_to_end/bit_exactness.h"

namespace millrace {
namespace {

TEST_P(BitExactness, LogitsAreTheSameBitsHoweverTheyAreComputed) {
  std::mt19937 random(7);
  std::vector<Request> studied;
  for (const int32_t length : {1, 31, 33, 70, 300})
    studied.push_back(GreedyRequest(RandomPrompt(random, length), 6));

  const Outcome alone = Run(studied, {"alone"}, random);
  EXPECT_EQ(alone.preemptions, 0);
  const int64_t rows = static_cast<int64_t>(logits_.rows.size());
  EXPECT_EQ(rows, 1 + 31 + 33 + 70 + 300 + 5 * 5);

  const Variant variants[] = {
      {"chunks of 1", 1, 1, 1},
      {"chunks of 7, two threads", 2, 7, 1},
      {"chunks of 32", 1, 32, 1},
      {"chunks of 512, three threads", 3, 512, 1},
      {"batched with others", 1, 512, 8, 64, 64, true},
      {"batched with others, chunks of 7, two threads", 2, 7, 8, 40, 64, true},
      {"batched with others, chunks of 32, four threads", 4, 32, 8, 512, 64, true},
      {"forced preemption", 2, 32, 8, 128, 12, true, 100},
      {.name = "swapped",
       .threads = 2,
       .chunk = 32,
       .max_running = 8,
       .step_tokens = 128,
       .blocks = 12,
       .others = true,
       .other_tokens = 100,
       .swap_blocks = 12},
      {.name = "swapped in part",
       .chunk = 11,
       .max_running = 8,
       .step_tokens = 64,
       .blocks = 12,
       .others = true,
       .other_tokens = 100,
       .swap_blocks = 1},
      {.name = "static",
       .chunk = 64,
       .max_running = 4,
       .others = true,
       .batching = Batching::kStatic},
      {.name = "contiguous",
       .threads = 2,
       .chunk = 32,
       .max_running = 8,
       .step_tokens = 128,
       .blocks = 14,
       .others = true,
       .other_tokens = 60,
       .layout = KvLayout::kContiguous},
  };
  int64_t preemptions = 0;
  int64_t swapped_in = 0;
  for (const Variant& variant : variants) {
    const int64_t compared_before = logits_.compared;
    const Outcome outcome = Run(studied, variant, random);
    EXPECT_EQ(outcome.outputs, alone.outputs) << variant.name;
    EXPECT_EQ(logits_.mismatches, 0) << variant.name;
    EXPECT_GE(logits_.compared - compared_before, rows) << variant.name;
    preemptions += outcome.preemptions;
    swapped_in += outcome.swapped_in;
  }
  EXPECT_GT(swapped_in, 0);
  EXPECT_GT(preemptions, 0) << "the small pool should have forced a preemption";
}

// The first ends, the second is in the way of the third, and is moved.
TEST_P(BitExactness, RegionsThatAreMovedGiveTheSameBits) {
  if (GetParam().isa != DetectIsa() || (kUnderSanitizer && GetParam().type != DType::kQ4_K)) {
    GTEST_SKIP() << "blocks are moved in the same way for every instruction set and type";
  }
  std::mt19937 random(17);
  const std::vector<Request> studied = {GreedyRequest(RandomPrompt(random, 33), 2),
                                        GreedyRequest(RandomPrompt(random, 40), 60),
                                        GreedyRequest(RandomPrompt(random, 300), 6)};
  const Outcome alone = Run(studied, {"alone"}, random);
  const Outcome moved =
      Run(studied,
          {.name = "contiguous", .max_running = 8, .blocks = 14, .layout = KvLayout::kContiguous},
          random);
  EXPECT_EQ(moved.outputs, alone.outputs);
  EXPECT_EQ(logits_.mismatches, 0);
  EXPECT_EQ(moved.compactions, 1);
}

// Several answers to one prompt, one after the other and sharing its blocks.
TEST_P(BitExactness, ForksGiveTheSameBits) {
  if (GetParam().isa != DetectIsa() || (kUnderSanitizer && GetParam().type != DType::kQ4_K)) {
    GTEST_SKIP() << "blocks are shared in the same way for every instruction set and type";
  }
  std::mt19937 random(13);
  std::vector<Request> studied;
  int64_t once = 0;
  for (const int32_t length : {1, 32, 33, 100}) {
    const std::vector<TokenId> prompt = RandomPrompt(random, length);
    once += length;
    for (uint64_t seed = 0; seed < 4; ++seed) {
      studied.push_back(GreedyRequest(prompt, 90));
      studied.back().sampling.temperature = 1.0f;
      studied.back().sampling.seed = seed;
      once += 89;
    }
  }
  const Outcome alone = Run(studied, {"alone"}, random);
  const Variant variants[] = {
      {.name = "forks", .max_running = 16, .forks = true},
      {.name = "forks, prefix cache", .max_running = 16, .prefix_cache = true, .forks = true},
      {.name = "forks, few places", .threads = 2, .chunk = 7, .max_running = 3, .forks = true},
      {.name = "forks, static", .max_running = 5, .batching = Batching::kStatic, .forks = true},
      {.name = "forks, little memory",
       .threads = 2,
       .chunk = 20,
       .max_running = 16,
       .blocks = 9,
       .others = true,
       .other_tokens = 60,
       .forks = true},
  };
  for (const Variant& variant : variants) {
    const Outcome outcome = Run(studied, variant, random);
    EXPECT_EQ(outcome.outputs, alone.outputs) << variant.name;
    EXPECT_EQ(logits_.mismatches, 0) << variant.name;
    EXPECT_EQ(outcome.preemptions > 0, variant.blocks < 64) << variant.name;
    if (!variant.others) {
      EXPECT_EQ(outcome.computed, once) << variant.name;
    }
  }
}

// Requests that begin alike, in turn and together, with the cache on and off.
TEST_P(BitExactness, LogitsAreTheSameBitsFromAWarmCache) {
  if (GetParam().isa != DetectIsa()) {
    GTEST_SKIP() << "the cache is the same for every instruction set: tested with the best";
  }
  if (kUnderSanitizer && GetParam().architecture == "llama" && GetParam().type != DType::kQ4_K) {
    GTEST_SKIP() << "the cache is the same for every type: one is tested under sanitizers";
  }
  std::mt19937 random(11);
  const std::vector<TokenId> text = RandomPrompt(random, 300);
  std::vector<Request> studied;
  // Beginnings that end within a block and at its border; the same prompt twice.
  for (const int32_t common : {70, 64, 65, 95, 200, 300, 300, 33, 31, 256, 257}) {
    std::vector<TokenId> prompt(text.begin(), text.begin() + common);
    if (common < 300) {
      for (const TokenId token : RandomPrompt(random, 1 + common % 20)) prompt.push_back(token);
    }
    studied.push_back(GreedyRequest(std::move(prompt), 6));
  }
  const Outcome cold = Run(studied, {"cold, one after the other"}, random);
  EXPECT_EQ(cold.hits, 0);

  const Variant variants[] = {
      {"in turn", 1, 512, 1, 512, 64, false, 9, true},
      {"together, chunks of 7, two threads", 2, 7, 8, 40, 64, false, 9, true},
      {"with others", 1, 32, 8, 64, 64, true, 9, true},
      {"evicted and preempted", 2, 32, 8, 128, 12, true, 100, true},
      {"evicted and preempted, chunks of 11", 1, 11, 8, 30, 12, true, 100, true},
      {"off, with others", 1, 64, 8, 128, 64, true, 9, false},
      {"static", 1, 64, 4, 128, 64, true, 9, true, Batching::kStatic},
      {.name = "evicted and swapped",
       .threads = 2,
       .chunk = 32,
       .max_running = 8,
       .step_tokens = 128,
       .blocks = 12,
       .others = true,
       .other_tokens = 100,
       .prefix_cache = true,
       .swap_blocks = 8},
  };
  Outcome all;
  for (const Variant& variant : variants) {
    const int64_t compared_before = logits_.compared;
    const Outcome outcome = Run(studied, variant, random);
    EXPECT_EQ(outcome.outputs, cold.outputs) << variant.name;
    EXPECT_EQ(logits_.mismatches, 0) << variant.name;
    EXPECT_GT(logits_.compared, compared_before) << variant.name;
    EXPECT_EQ(outcome.hits > 500, variant.prefix_cache) << variant.name << ": " << outcome.hits;
    all.preemptions += outcome.preemptions;
    all.evictions += outcome.evictions;
  }
  EXPECT_GT(all.preemptions, 0);
  EXPECT_GT(all.evictions, 20);

  // One engine leaves its blocks on disk, the next, with little memory, finds them there.
  std::string directory = std::filesystem::temp_directory_path() / "millrace_bit_exact_XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  for (const bool warm : {false, true}) {
    const Variant variant = {"disk",   1, 32, 8, 64, 14, warm, 30, true, Batching::kContinuous,
                             directory};
    const Outcome outcome = Run(studied, variant, random);
    EXPECT_EQ(outcome.outputs, cold.outputs) << "from disk: " << warm;
    EXPECT_EQ(logits_.mismatches, 0) << "from disk: " << warm;
    EXPECT_TRUE(!warm || outcome.loads > 0);
  }
  std::filesystem::remove_all(directory);
}

std::vector<Weights> AllWeights() {
  std::vector<Weights> all;
  // Slow under sanitizers: there a float and an integer type, and every architecture, on the best
  // instruction set; the tests of the kernels go through all of them there too.
  for (const DType type : {DType::kF32, DType::kQ8_0, DType::kQ4_K}) {
    if (kUnderSanitizer && type == DType::kQ8_0) continue;  // the architectures below have it
    for (const Isa isa : SupportedIsas()) {
      if (kUnderSanitizer && isa != DetectIsa()) continue;
      all.push_back({"llama", type, KvType::kBf16, isa});
    }
  }
  // Every other type on the best instruction set; batch_exactness_test has all of them on all.
  for (const DType type : WeightMatrix::SupportedTypes()) {
    const bool above = type == DType::kF32 || type == DType::kQ8_0 || type == DType::kQ4_K;
    if (!kUnderSanitizer && !above) all.push_back({"llama", type});
  }
  for (const Isa isa : SupportedIsas()) {
    if (kUnderSanitizer && isa != DetectIsa()) continue;
    all.push_back({"llama", DType::kQ8_0, KvType::kQ8_0, isa});
  }
  all.push_back({"gemma3", DType::kQ8_0, KvType::kQ8_0});
  for (const char* architecture : {"qwen2", "qwen3", "gemma3"})
    all.push_back({architecture, DType::kQ8_0, KvType::kF32});
  all.push_back({"llama", DType::kQ8_0, KvType::kF32, DetectIsa(), AttentionKind::kStandard});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Weights, BitExactness, testing::ValuesIn(AllWeights()),
                         [](const auto& param) { return NameOf(param); });

}  // namespace
}  // namespace millrace
