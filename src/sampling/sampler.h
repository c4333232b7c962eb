// Sampling: logits of one position -> the next token.
//
// Invariant: the token is a pure function of (parameters, logits, the request's own tokens, position): randomness comes
// from CounterRng(seed, position), so it never depends on batch mates, chunking or restarts. Temperature 0 is greedy:
// the largest logit after bias and penalties, the smallest id among equals.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/result.h"

namespace millrace {

struct SamplingParams {
  float temperature = 1.0f;         // 0: greedy; OpenAI's range 0 to 2
  int32_t top_k = 0;                // 0: all
  float top_p = 1.0f;               // (0, 1]
  float min_p = 0.0f;               // [0, 1): keeps p >= min_p * max p
  float repetition_penalty = 1.0f;  // > 0; over prompt and output (CTRL, Keskar et al. 2019: divides positive logits)
  float presence_penalty = 0.0f;    // [-2, 2]; over the output, as OpenAI documents
  float frequency_penalty = 0.0f;   // [-2, 2]
  std::vector<std::pair<TokenId, float>> logit_bias;  // added to the logits first; -100 bans, 100 forces in practice
  uint64_t seed = 0;
  int32_t top_logprobs = -1;        // < 0: no logprobs wanted; 0..20: the chosen token's and that many of the best
};

// Whether all values are in range and logit_bias names tokens of the vocabulary; the message names the parameter.
Status Validate(const SamplingParams& params, int32_t vocab_size);

struct TokenLogprob {
  TokenId token;
  float logprob = 0.0f;  // natural log of the model's probability, before temperature, penalties and truncation
};

struct Sampled {
  TokenId token;
  float logprob = 0.0f;                    // meaningful when top_logprobs >= 0
  std::vector<TokenLogprob> top_logprobs;  // best first
};

// The state of one request's sampling: counts of the tokens seen. Reused scratch makes a step allocation-free.
class Sampler {
 public:
  Sampler(SamplingParams params, int32_t vocab_size);

  // `prompt` counts for the repetition penalty only.
  void ObservePrompt(std::span<const TokenId> prompt);
  // logits [vocab_size] of the token at `position` (the index that the new token will have in the sequence).
  Sampled Sample(std::span<const float> logits, int64_t position);
  // Tells the sampler what was appended (what Sample returned, once it is kept).
  void Observe(TokenId token);

  const SamplingParams& params() const { return params_; }

 private:
  struct Candidate {
    float logit;
    TokenId token;
  };
  SamplingParams params_;
  int32_t vocab_size_;
  std::vector<std::pair<TokenId, int32_t>> output_counts_;  // sorted by token
  std::vector<TokenId> seen_;                               // sorted: prompt and output
  std::vector<float> adjusted_;
  std::vector<Candidate> candidates_;
};

}  // namespace millrace
