// Sampling: logits of one position -> the next token.
//
// Invariant: the token is a pure function of (parameters, logits, the request's own tokens,
// position): randomness comes from CounterRng(seed, position), so it never depends on batch mates,
// chunking or restarts. Temperature 0 is greedy: the largest logit after bias and penalties, the
// smallest id among equals.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "sampling/weights.h"

namespace millrace {

struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy; OpenAI's range 0 to 2
  int32_t top_k = 0;         // 0: all
  float top_p = 1.0f;        // (0, 1]
  float min_p = 0.0f;        // [0, 1): keeps p >= min_p * max p
  // > 0; over prompt and output (CTRL, Keskar et al. 2019, section 4.1: divides positive logits,
  // multiplies negative ones).
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;   // [-2, 2]; over the output, as OpenAI documents
  float frequency_penalty = 0.0f;  // [-2, 2]
  // Added to the logits first; [-100, 100]: -100 bans, 100 forces in practice.
  std::vector<std::pair<TokenId, float>> logit_bias = {};
  uint64_t seed = 0;
  // < 0: no logprobs wanted; 0..20: the chosen token's and that many of the best.
  int32_t top_logprobs = -1;
};

// Whether all values are in range and logit_bias names tokens of the vocabulary; the message names
// the parameter.
Status Validate(const SamplingParams& params, int32_t vocab_size);

// What stands for the logprob of a token of probability zero (JSON knows no infinity).
inline constexpr float kLowestLogprob = -9999.0f;

struct TokenLogprob {
  TokenId token;
  // Natural log of the model's probability, before temperature, bias, penalties and truncation; at
  // least kLowestLogprob.
  float logprob = 0.0f;
};

struct Sampled {
  TokenId token;
  float logprob = 0.0f;                    // meaningful when top_logprobs >= 0
  std::vector<TokenLogprob> top_logprobs;  // best first
};

// The state of one request's sampling: counts of the tokens seen. Reused scratch makes a step
// allocation-free (but for the list of logprobs); it is of the vocabulary's size only where bias or
// penalties need a changed copy of the logits.
//
// Order of operations: bias, penalties, mask, then greedy, or temperature, top-k, top-p (of what
// top-k left), min-p, and one draw over the kept tokens in the order of their ids. A NaN is never
// chosen and counts as probability zero; where no logit is above -infinity, the token is 0.
class Sampler {
 public:
  // `params` must have passed Validate for this vocabulary.
  Sampler(SamplingParams params, int32_t vocab_size);

  // `prompt` counts for the repetition penalty only. Ids must be within the vocabulary.
  void ObservePrompt(std::span<const TokenId> prompt);
  // logits [vocab_size] of the token at `position` (the index that the new token will have in the
  // sequence). Changes nothing but scratch: the same call gives the same answer until Observe.
  // `allowed`: bit i % 64 of word i / 64 says whether token i may be chosen, tokens behind the last
  // word may not; without words, all may. At least one should be: where none is, the token is 0.
  Sampled Sample(std::span<const float> logits, int64_t position,
                 std::span<const uint64_t> allowed = {});
  // What the model's own logits [vocab_size] say of a given token, as Sample reports it for the one
  // it chooses; changes nothing but scratch. Needs params.top_logprobs >= 0.
  Sampled Score(std::span<const float> logits, TokenId token);
  // Tells the sampler what was appended (what Sample returned, once it is kept).
  void Observe(TokenId token);

  const SamplingParams& params() const { return params_; }

 private:
  struct Candidate {
    float logit;
    TokenId token;
  };
  std::span<const float> Adjust(std::span<const float> logits, std::span<const uint64_t> allowed);
  void Mask(std::span<const uint64_t> allowed);
  TokenId Draw(std::span<const float> logits, int64_t position);
  TokenId DrawFromAll(std::span<const float> logits, float max, double uniform);
  TokenId DrawFromCandidates(float max, double uniform) const;
  void SelectTop(std::span<const float> logits, size_t count);
  void SelectTopP(std::span<const float> logits, float max);
  bool CutToMass(float max, double mass);
  double Weight(float logit, float max) const;
  double SumOfWeights(std::span<const float> logits, float max, double least);
  void AddLogprobs(std::span<const float> logits, Sampled& result);
  bool HasRepetition() const { return params_.repetition_penalty != 1.0f; }
  bool HasCounts() const {
    return params_.presence_penalty != 0.0f || params_.frequency_penalty != 0.0f;
  }

  SamplingParams params_;
  int32_t vocab_size_;
  double scale_;  // 1 / temperature
  const WeightKernels* kernels_;
  std::vector<std::pair<TokenId, int32_t>> output_counts_;  // sorted by token; if HasCounts()
  std::vector<TokenId> seen_;          // sorted: prompt and output; if HasRepetition()
  std::vector<float> adjusted_;        // scratch
  std::vector<Candidate> candidates_;  // scratch: the best tokens
  std::vector<double> chunk_sums_;     // scratch: weights of kWeightChunk neighbours, added up
};

}  // namespace millrace
