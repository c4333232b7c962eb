// TransformerWeights: the tensors of a decoder, found by name, checked against the configuration
// and packed for the kernels. A missing tensor, a wrong shape or an unsupported type is named in
// one sentence.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/thread_pool.h"
#include "model/transformer_config.h"
#include "quantization/weight_matrix.h"

namespace millrace {

struct LayerWeights {
  std::vector<float> attention_norm;          // [E]
  WeightMatrix q, k, v;                       // [H*D, E], [G*D, E], [G*D, E]
  std::vector<float> q_bias, k_bias, v_bias;  // empty, or [H*D], [G*D], [G*D]
  std::vector<float> q_norm, k_norm;          // empty, or [D]
  WeightMatrix attention_output;              // [E, H*D]
  std::vector<float> attention_output_bias;   // empty, or [E]
  std::vector<float> post_attention_norm;     // empty, or [E]
  std::vector<float> ff_norm;                 // [E]
  WeightMatrix gate, up, down;                // [F, E], [F, E], [E, F]
  std::vector<float> post_ff_norm;            // empty, or [E]
};

struct TransformerWeights {
  WeightMatrix token_embedding;  // [V, E]
  std::vector<LayerWeights> layers;
  std::vector<float> output_norm;      // [E]
  std::optional<WeightMatrix> output;  // [V, E]; without: tied to token_embedding
  const WeightMatrix& output_matrix() const { return output ? *output : token_embedding; }
};

// Called with the layers loaded so far and their number.
using LoadProgress = std::function<void(int32_t done, int32_t total)>;

Result<TransformerWeights> LoadTransformerWeights(const GgufFile& file,
                                                  const TransformerConfig& config, ThreadPool& pool,
                                                  const LoadProgress& progress = {});

}  // namespace millrace
