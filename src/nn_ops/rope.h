// Rope: rotary position embedding (Su et al. 2021) with the variants found in GGUF files. Tables of
// cos and sin are made in double for all positions up to the context length asked for, once.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "nn_ops/nn_ops.h"

namespace millrace {

enum class RopePairing {
  kAdjacent,
  kHalves
};  // llama files: adjacent (Q and K are permuted so); Qwen, Gemma: halves

// YaRN (Peng et al. 2023), as llama.cpp computes it.
struct YarnConfig {
  float factor = 1.0f;  // context extension
  float original_context = 0.0f;
  float beta_fast = 32.0f;
  float beta_slow = 1.0f;
  float extrapolation = 1.0f;     // ext_factor
  float attention_factor = 1.0f;  // multiplies the magnitude, beside 1 + 0.1 ln(factor)
};

struct RopeConfig {
  RopePairing pairing = RopePairing::kAdjacent;
  int32_t dimensions = 0;  // rotated part of a head, even, <= head_dim; the rest passes through
  double base = 10000.0;
  float linear_factor = 1.0f;  // position / factor ("linear" scaling)
  std::optional<YarnConfig> yarn;
  std::vector<float> frequency_factors;  // rope_freqs.weight (llama 3): divides theta; empty or
                                         // dimensions / 2 long
};

class Rope {
 public:
  Rope(const RopeConfig& config, int32_t max_positions);
  // Rotates heads [count][head_dim] of one position in place.
  void Apply(const NnKernels& kernels, float* heads, int32_t count, int32_t head_dim,
             int32_t position) const;

 private:
  RopePairing pairing_;
  int32_t half_;
  std::vector<float> cos_, sin_;  // [position][half]
};

}  // namespace millrace
