// EncoderWeights: the tensors of an encoder, found by name, checked against the configuration and
// packed for the kernels. A missing tensor, a wrong shape or an unsupported type is named in one
// sentence.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/thread_pool.h"
#include "gguf/gguf.h"
#include "model/encoder_config.h"
#include "model/transformer_weights.h"
#include "quantization/weight_matrix.h"

namespace millrace {

struct LayerNormWeights {
  std::vector<float> weight, bias;  // [E], [E]
};

// Biases are empty where the file has none.
struct EncoderLayerWeights {
  std::vector<WeightMatrix> qkv;  // one [3E, E], or Q, K and V [E, E] each
  std::vector<float> qkv_bias;    // [3E]
  WeightMatrix attention_output;  // [E, E]
  std::vector<float> attention_output_bias;
  LayerNormWeights attention_norm;   // after the residual sum
  std::optional<WeightMatrix> gate;  // [F, E], of SwiGLU
  WeightMatrix up, down;             // [F, E], [E, F]
  std::vector<float> up_bias, down_bias;
  LayerNormWeights output_norm;  // after the residual sum
};

struct EncoderWeights {
  WeightMatrix token_embedding;                    // [V, E]
  std::optional<WeightMatrix> type_embedding;      // [token types, E]
  std::optional<WeightMatrix> position_embedding;  // [context, E]
  LayerNormWeights embedding_norm;
  std::vector<EncoderLayerWeights> layers;
  // What matrices that own no memory of their own view.
  std::shared_ptr<const void> backing;
};

// `options.cache_directory` is not used: an encoder packs in well under a second.
Result<EncoderWeights> LoadEncoderWeights(const GgufFile& file, const EncoderConfig& config,
                                          ThreadPool& pool, const WeightOptions& options = {});

}  // namespace millrace
