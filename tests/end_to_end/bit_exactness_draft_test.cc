// Tokens that were drafted and verified, right and wrong, have the logits that decoding them one by
// one has: by every drafter, with neighbours, forks, preemption, swapping and contiguous memory.
#include "tests/end_to_end/bit_exactness.h"

namespace millrace {
namespace {

class DraftExactness : public BitExactness {};

// What is said twice is found by the drafters; greedy, and by temperature.
std::vector<Request> RepetitiveRequests(std::mt19937& random, int32_t max_tokens) {
  std::vector<Request> requests;
  for (const int32_t length : {1, 31, 33, 70, 300}) {
    std::vector<TokenId> prompt = RandomPrompt(random, length);
    for (int32_t i = 0; i < length / 2; ++i) prompt.push_back(prompt[static_cast<size_t>(i)]);
    requests.push_back(GreedyRequest(std::move(prompt), max_tokens));
    requests.push_back(requests.back());
    requests.back().sampling.temperature = 0.8f;
    requests.back().sampling.seed = static_cast<uint64_t>(length);
  }
  return requests;
}

TEST_P(DraftExactness, LogitsAreTheSameBitsWithDrafts) {
  std::mt19937 random(13);
  const std::vector<Request> studied = RepetitiveRequests(random, 40);
  const Outcome plain = Run(studied, {"plain"}, random);
  using enum Speculation;
  const auto variant = [](const char* name, Speculation mode, int32_t draft) {
    Variant v = AmongOthers();
    v.name = name;
    v.speculation = mode;
    v.draft = draft;
    return v;
  };
  Variant other = variant("another draft model", kDraft, 3);
  other.other_draft = true;
  Variant forks = variant("forks", kAuto, 6);
  forks.forks = true;
  Variant small = variant("evicted and preempted", kAuto, 5);
  small.blocks = 18;
  small.other_tokens = 200;
  Variant swapped = small;
  swapped.name = "evicted and swapped";
  swapped.swap_blocks = 12;
  Variant regions = variant("contiguous", kAuto, 5);
  regions.prefix_cache = false;
  regions.layout = KvLayout::kContiguous;
  regions.blocks = 30;
  const Variant variants[] = {variant("lookup", kLookup, 4),
                              variant("suffix", kSuffix, 9),
                              variant("draft model", kDraft, 3),
                              variant("draft model, 16", kDraft, 16),
                              other,
                              forks,
                              small,
                              swapped,
                              regions};
  Outcome all;
  for (const Variant& v : variants) {
    const int64_t compared_before = logits_.compared;
    const Outcome outcome = Run(studied, v, random);
    EXPECT_EQ(outcome.outputs, plain.outputs) << v.name;
    EXPECT_EQ(logits_.mismatches, 0) << v.name;
    EXPECT_GT(logits_.compared, compared_before) << v.name;
    EXPECT_GT(outcome.drafted, 0) << v.name;
    const int64_t wrong = outcome.drafted - outcome.accepted;
    if (v.other_draft) {
      EXPECT_GT(wrong, 500) << v.name;
    } else if (v.speculation == kDraft) {  // equal models accept everything
      EXPECT_EQ(wrong, 0) << v.name;
    }
    all.accepted += outcome.accepted;
    all.drafted += outcome.drafted;
    all.preemptions += outcome.preemptions;
    all.swapped_in += outcome.swapped_in;
  }
  RecordProperty("drafted", std::to_string(all.drafted));
  RecordProperty("accepted", std::to_string(all.accepted));
  EXPECT_GT(all.accepted, 500);
  EXPECT_GT(all.preemptions, 0);
  EXPECT_GT(all.swapped_in, 0);
}

// Every type of weights and of keys and values, architecture and attention on the best instruction
// set, and one of them on all: verification itself is the same for all.
std::vector<Weights> DraftWeights() {
  std::vector<Weights> all;
  for (const Isa isa : SupportedIsas()) {
    if (!kUnderSanitizer || isa == DetectIsa())
      all.push_back({"llama", DType::kQ4_K, KvType::kBf16, isa});
  }
  if (kUnderSanitizer) return all;
  for (const DType type : WeightMatrix::SupportedTypes()) {
    if (type != DType::kQ4_K) all.push_back({"llama", type});
  }
  for (const KvType kv_type : {KvType::kF32, KvType::kQ8_0}) {
    for (const char* architecture : {"llama", "gemma3"}) {
      all.push_back({architecture, DType::kQ8_0, kv_type});
    }
  }
  for (const char* architecture : {"qwen2", "qwen3"}) {
    all.push_back({architecture, DType::kQ8_0});
  }
  all.push_back({"llama", DType::kQ8_0, KvType::kF32, DetectIsa(), AttentionKind::kStandard});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Weights, DraftExactness, testing::ValuesIn(DraftWeights()),
                         [](const auto& param) { return NameOf(param); });

}  // namespace
}  // namespace millrace
