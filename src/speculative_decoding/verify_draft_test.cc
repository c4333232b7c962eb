// VerifyDraft gives the tokens of plain decoding, and so their distribution: chi-square over pairs
// of tokens for every sampler setting, and the proof that the test notices a verification that
// accepts a little too often.
#include "speculative_decoding/verify_draft.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>

#include "base/rng.h"

namespace millrace {
namespace {

constexpr int32_t kVocab = 10;
constexpr int64_t kTrials = 200'000;

// A small language model: the logits after a token.
const std::vector<float>& LogitsAfter(TokenId last) {
  static const auto kTable = [] {
    std::vector<std::vector<float>> table(kVocab);
    for (int32_t before = 0; before < kVocab; ++before) {
      for (int32_t id = 0; id < kVocab; ++id) {
        CounterRng rng(static_cast<uint64_t>(before), static_cast<uint64_t>(id));
        table[static_cast<size_t>(before)].push_back(
            static_cast<float>(rng.NextDouble() * 4.0 - 1.0));
      }
    }
    return table;
  }();
  return kTable[static_cast<size_t>(last.value)];
}

struct Rows {
  std::vector<float> values;
  MatrixView<const float> view() const {
    return {values.data(), static_cast<int64_t>(values.size()) / kVocab, kVocab, kVocab};
  }
};

Rows LogitsOf(TokenId last, std::span<const TokenId> draft) {
  Rows rows{.values = LogitsAfter(last)};
  for (const TokenId token : draft) {
    const auto& next = LogitsAfter(token);
    rows.values.insert(rows.values.end(), next.begin(), next.end());
  }
  return rows;
}

std::vector<TokenId> TokensOf(const Verdict& verdict) {
  std::vector<TokenId> tokens;
  for (const Sampled& sampled : verdict.tokens) tokens.push_back(sampled.token);
  return tokens;
}

const std::vector<TokenId> kPrompt = {TokenId(3), TokenId(7), TokenId(3), TokenId(1)};

Sampler MakeSampler(SamplingParams params, uint64_t seed) {
  params.seed = seed;
  Sampler sampler(std::move(params), kVocab);
  sampler.ObservePrompt(kPrompt);
  return sampler;
}

std::vector<TokenId> Plain(const SamplingParams& params, uint64_t seed, size_t count) {
  Sampler sampler = MakeSampler(params, seed);
  std::vector<TokenId> tokens = kPrompt;
  while (tokens.size() < kPrompt.size() + count) {
    const auto position = static_cast<int64_t>(tokens.size());
    tokens.push_back(sampler.Sample(LogitsAfter(tokens.back()), position).token);
    sampler.Observe(tokens.back());
  }
  return {tokens.begin() + static_cast<std::ptrdiff_t>(kPrompt.size()), tokens.end()};
}

struct Setting {
  std::string name;
  SamplingParams params;
};

std::vector<Setting> Settings() {
  const SamplingParams bias = {.logit_bias = {{TokenId(2), 1.5f}, {TokenId(8), -100.0f}}};
  return {{"greedy", {.temperature = 0.0f}},
          {"temperature 1", {}},
          {"temperature 0.6", {.temperature = 0.6f}},
          {"temperature 1.7", {.temperature = 1.7f}},
          {"top-k", {.top_k = 3}},
          {"top-p", {.top_p = 0.7f}},
          {"min-p", {.min_p = 0.2f}},
          {"repetition penalty", {.repetition_penalty = 1.6f}},
          {"presence and frequency", {.presence_penalty = 0.8f, .frequency_penalty = 0.5f}},
          {"bias", bias},
          {"all",
           {.temperature = 1.3f,
            .top_k = 7,
            .top_p = 0.9f,
            .min_p = 0.05f,
            .repetition_penalty = 1.2f,
            .presence_penalty = 0.4f,
            .frequency_penalty = 0.3f,
            .logit_bias = {{TokenId(4), 0.7f}}}}};
}

// Proposals that are often right, and depend on nothing that the sampler draws.
std::vector<TokenId> Propose(uint64_t trial, size_t count) {
  std::vector<TokenId> draft;
  TokenId last = kPrompt.back();
  CounterRng rng(trial, 99);
  for (size_t i = 0; i < count; ++i) {
    const auto& logits = LogitsAfter(last);
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    const bool astray = rng.NextDouble() < 0.3;
    last = TokenId(static_cast<int32_t>(astray ? static_cast<int64_t>(rng.NextU64() % kVocab)
                                               : static_cast<int64_t>(best)));
    draft.push_back(last);
  }
  return draft;
}

TEST(VerifyDraftTest, TheTokensAreThoseOfPlainDecoding) {
  int64_t accepted = 0;
  for (const Setting& setting : Settings()) {
    for (uint64_t trial = 0; trial < 2000; ++trial) {
      const auto expected = Plain(setting.params, trial, 6);
      std::vector<TokenId> tokens;
      Sampler sampler = MakeSampler(setting.params, trial);
      while (tokens.size() < 6) {
        const TokenId last = tokens.empty() ? kPrompt.back() : tokens.back();
        // Right as far as it goes, by what plain decoding said, or astray.
        std::vector<TokenId> draft(expected.begin() + static_cast<std::ptrdiff_t>(tokens.size()),
                                   expected.end());
        draft.resize(trial % 4);
        if (!draft.empty() && trial % 3 == 0) draft[trial % draft.size()] = TokenId(0);
        const Verdict verdict = VerifyDraft(draft, LogitsOf(last, draft).view(),
                                            static_cast<int64_t>(kPrompt.size() + tokens.size()),
                                            {}, static_cast<int32_t>(6 - tokens.size()), sampler);
        const auto got = TokensOf(verdict);
        ASSERT_GE(got.size(), 1u);
        ASSERT_LE(static_cast<size_t>(verdict.accepted), draft.size());
        accepted += verdict.accepted;
        tokens.insert(tokens.end(), got.begin(), got.end());
      }
      ASSERT_EQ(tokens, expected) << setting.name;
    }
  }
  EXPECT_GT(accepted, 5000);
}

TEST(VerifyDraftTest, EndsAtAStopTokenAndAtTheLimit) {
  const auto expected = Plain({.temperature = 0.0f}, 1, 4);
  const auto verify = [&](std::vector<TokenId> stops, int32_t limit) {
    Sampler sampler = MakeSampler({.temperature = 0.0f}, 1);
    return VerifyDraft(expected, LogitsOf(kPrompt.back(), expected).view(), 4, stops, limit,
                       sampler);
  };
  const Verdict whole = verify({}, 9);
  EXPECT_EQ(whole.tokens.size(), 5u);
  EXPECT_EQ(whole.accepted, 4);
  EXPECT_EQ(whole.end, VerdictEnd::kGoesOn);
  const Verdict cut = verify({}, 2);
  EXPECT_EQ(cut.tokens.size(), 2u);
  EXPECT_EQ(cut.accepted, 2);
  EXPECT_EQ(cut.end, VerdictEnd::kLimit);
  const Verdict stopped = verify({expected[2]}, 9);
  const auto first = std::find(expected.begin(), expected.end(), expected[2]) - expected.begin();
  EXPECT_EQ(stopped.tokens.size(), static_cast<size_t>(first) + 1);
  EXPECT_EQ(stopped.end, VerdictEnd::kStop);
}

TEST(VerifyDraftTest, NanCountsOnlyWhereDecodingGetsThere) {
  const auto expected = Plain({.temperature = 0.0f}, 1, 3);
  Rows rows = LogitsOf(kPrompt.back(), expected);
  rows.values[2 * kVocab + 4] = NAN;
  Sampler sampler = MakeSampler({.temperature = 0.0f}, 1);
  const Verdict verdict = VerifyDraft(expected, rows.view(), 4, {}, 9, sampler);
  EXPECT_EQ(TokensOf(verdict), std::vector(expected.begin(), expected.begin() + 2));
  EXPECT_EQ(verdict.end, VerdictEnd::kNan);
  const TokenId other((expected[0].value + 1) % kVocab);
  const std::vector<TokenId> wrong = {other, other, other};
  Rows unread = LogitsOf(kPrompt.back(), wrong);
  unread.values[1 * kVocab] = NAN;
  Sampler fresh = MakeSampler({.temperature = 0.0f}, 1);
  EXPECT_EQ(VerifyDraft(wrong, unread.view(), 4, {}, 9, fresh).end, VerdictEnd::kGoesOn);
}

// The probabilities of the next token by the definition of the sampler's settings.
std::vector<double> Probabilities(const SamplingParams& p, std::vector<TokenId> output) {
  const TokenId last = output.empty() ? kPrompt.back() : output.back();
  std::vector<double> logits;
  for (const float logit : LogitsAfter(last)) logits.push_back(double{logit});
  for (const auto& [token, bias] : p.logit_bias) {
    logits[static_cast<size_t>(token.value)] += double{bias};
  }
  for (int32_t id = 0; id < kVocab; ++id) {
    double& logit = logits[static_cast<size_t>(id)];
    const auto in = std::count(output.begin(), output.end(), TokenId(id));
    if (in > 0 || std::count(kPrompt.begin(), kPrompt.end(), TokenId(id)) > 0) {
      logit =
          logit > 0 ? logit / double{p.repetition_penalty} : logit * double{p.repetition_penalty};
    }
    if (in > 0) {
      logit -= double{p.presence_penalty} + double{p.frequency_penalty} * static_cast<double>(in);
    }
  }
  std::vector<size_t> order(kVocab);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  std::vector<double> weights(kVocab, 0.0);
  if (p.temperature == 0.0f) {
    weights[order[0]] = 1.0;
    return weights;
  }
  const double best = logits[order[0]];
  const auto weight = [&](size_t id) {
    return std::exp((logits[id] - best) / double{p.temperature});
  };
  const size_t kept = p.top_k > 0 ? static_cast<size_t>(p.top_k) : size_t{kVocab};
  double total = 0, mass = 0;
  for (size_t i = 0; i < kept; ++i) total += weight(order[i]);
  for (size_t i = 0; i < kept && mass < total * double{p.top_p}; ++i) {
    mass += weight(order[i]);
    if (weight(order[i]) >= double{p.min_p}) weights[order[i]] = weight(order[i]);
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& w : weights) w /= sum;
  return weights;
}

// The quantile 0.99999 of chi-square (Wilson and Hilferty, 1931).
double Limit(int64_t degrees) {
  const double k = static_cast<double>(degrees), z = 4.265;
  const double root = 1.0 - 2.0 / (9.0 * k) + z * std::sqrt(2.0 / (9.0 * k));
  return k * root * root * root;
}

using Verify = std::function<Verdict(std::span<const TokenId>, MatrixView<const float>, int64_t,
                                     int32_t, uint64_t, Sampler&)>;

// How far the first two tokens of kTrials answers, each with a seed of its own and drafts of 0 to 3
// tokens, are from their distribution: chi-square by its limit, so more than 1 is a finding.
double Distance(const SamplingParams& params, const Verify& verify) {
  std::vector<int64_t> counts(kVocab * kVocab);
  for (uint64_t trial = 0; trial < static_cast<uint64_t>(kTrials); ++trial) {
    Sampler sampler = MakeSampler(params, trial + 1'000'000);
    std::vector<TokenId> tokens;
    while (tokens.size() < 2) {
      const TokenId last = tokens.empty() ? kPrompt.back() : tokens.back();
      const auto draft = tokens.empty() ? Propose(trial, 1 + trial % 3) : std::vector<TokenId>();
      const auto got =
          TokensOf(verify(draft, LogitsOf(last, draft).view(),
                          static_cast<int64_t>(kPrompt.size() + tokens.size()), 9, trial, sampler));
      tokens.insert(tokens.end(), got.begin(), got.end());
    }
    ++counts[static_cast<size_t>(tokens[0].value * kVocab + tokens[1].value)];
  }
  double statistic = 0;
  int64_t cells = 0;
  const auto first = Probabilities(params, {});
  for (int32_t a = 0; a < kVocab; ++a) {
    const auto second = Probabilities(params, {TokenId(a)});
    for (int32_t b = 0; b < kVocab; ++b) {
      const double mean = first[static_cast<size_t>(a)] * second[static_cast<size_t>(b)] *
                          static_cast<double>(kTrials);
      const auto count = static_cast<double>(counts[static_cast<size_t>(a * kVocab + b)]);
      if (mean == 0.0) {
        if (count > 0) return INFINITY;
        continue;
      }
      ++cells;
      statistic += (count - mean) * (count - mean) / mean;
    }
  }
  if (cells == 1) return statistic;
  return statistic / Limit(cells - 1);
}

TEST(VerifyDraftTest, TheDistributionIsTheTargetsForEverySetting) {
  for (const Setting& setting : Settings()) {
    const double distance =
        Distance(setting.params, [](std::span<const TokenId> draft, MatrixView<const float> logits,
                                    int64_t position, int32_t limit, uint64_t, Sampler& sampler) {
          return VerifyDraft(draft, logits, position, {}, limit, sampler);
        });
    EXPECT_LT(distance, 1.0) << setting.name;
  }
}

// Accepts one proposal in twenty that the target did not draw.
TEST(VerifyDraftTest, TheTestNoticesAcceptanceThatIsBiased) {
  const Verify biased = [](std::span<const TokenId> draft, MatrixView<const float> logits,
                           int64_t position, int32_t limit, uint64_t trial, Sampler& sampler) {
    Verdict verdict = VerifyDraft(draft, logits, position, {}, limit, sampler);
    const bool rejects = !draft.empty() && verdict.accepted == 0;
    if (rejects && CounterRng(trial, 5).NextDouble() < 0.05) verdict.tokens[0].token = draft[0];
    return verdict;
  };
  for (const Setting& setting : Settings()) {
    EXPECT_GT(Distance(setting.params, biased), 1.0) << setting.name;
  }
}

}  // namespace
}  // namespace millrace
