#include "model/encoder_weights.h"

#include <string>
#include <string_view>

#include "model/tensor_source.h"

namespace millrace {
namespace {

Result<LayerNormWeights> LoadNorm(const TensorSource& source, const std::string& name, int64_t e) {
  LayerNormWeights norm;
  ASSIGN_OR_RETURN(norm.weight, source.Vector(name + ".weight", e));
  ASSIGN_OR_RETURN(norm.bias, source.Vector(name + ".bias", e));
  return norm;
}

Result<std::vector<float>> OptionalBias(const TensorSource& source, const std::string& name,
                                        int64_t count) {
  return source.Vector(Presence::kOptional, name + ".bias", count);
}

// One matrix for all three, or three; and their biases, all or none.
Status LoadQkv(const TensorSource& source, const std::string& blk, int64_t e,
               EncoderLayerWeights& w) {
  if (source.Has(blk + "attn_qkv.weight")) {
    ASSIGN_OR_RETURN(WeightMatrix qkv, source.Matrix(blk + "attn_qkv.weight", 3 * e, e));
    w.qkv.push_back(std::move(qkv));
    ASSIGN_OR_RETURN(w.qkv_bias, OptionalBias(source, blk + "attn_qkv", 3 * e));
    return {};
  }
  const bool biased = source.Has(blk + "attn_q.bias");
  for (const char* name : {"attn_q", "attn_k", "attn_v"}) {
    ASSIGN_OR_RETURN(WeightMatrix matrix, source.Matrix(blk + name + ".weight", e, e));
    w.qkv.push_back(std::move(matrix));
    if (!biased) continue;
    ASSIGN_OR_RETURN(const std::vector<float> bias, source.Vector(blk + name + ".bias", e));
    w.qkv_bias.insert(w.qkv_bias.end(), bias.begin(), bias.end());
  }
  return {};
}

Result<EncoderLayerWeights> LoadEncoderLayer(const TensorSource& source,
                                             const EncoderConfig& config, const std::string& blk) {
  const int64_t e = config.common.width, f = config.common.ff_width;
  EncoderLayerWeights w;
  RETURN_IF_ERROR(LoadQkv(source, blk, e, w));
  ASSIGN_OR_RETURN(w.attention_output, source.Matrix(blk + "attn_output.weight", e, e));
  ASSIGN_OR_RETURN(w.attention_output_bias, OptionalBias(source, blk + "attn_output", e));
  ASSIGN_OR_RETURN(w.attention_norm, LoadNorm(source, blk + "attn_output_norm", e));
  if (config.is_gated) {
    ASSIGN_OR_RETURN(w.gate, source.Matrix(blk + "ffn_gate.weight", f, e));
  }
  ASSIGN_OR_RETURN(w.up, source.Matrix(blk + "ffn_up.weight", f, e));
  ASSIGN_OR_RETURN(w.up_bias, OptionalBias(source, blk + "ffn_up", f));
  ASSIGN_OR_RETURN(w.down, source.Matrix(blk + "ffn_down.weight", e, f));
  ASSIGN_OR_RETURN(w.down_bias, OptionalBias(source, blk + "ffn_down", e));
  ASSIGN_OR_RETURN(w.output_norm, LoadNorm(source, blk + "layer_output_norm", e));
  return w;
}

}  // namespace

Result<EncoderWeights> LoadEncoderWeights(const GgufFile& file, const EncoderConfig& config,
                                          ThreadPool& pool, const WeightOptions& options) {
  const TransformerConfig& c = config.common;
  const TensorSource source(file, pool, options, nullptr);
  EncoderWeights weights;
  ASSIGN_OR_RETURN(weights.token_embedding,
                   source.Matrix("token_embd.weight", c.vocab_size, c.width));
  if (config.token_types > 0) {
    ASSIGN_OR_RETURN(weights.type_embedding,
                     source.Matrix("token_types.weight", config.token_types, c.width));
  }
  if (!config.has_rope) {
    ASSIGN_OR_RETURN(weights.position_embedding,
                     source.Matrix("position_embd.weight", c.context_length, c.width));
  }
  ASSIGN_OR_RETURN(weights.embedding_norm, LoadNorm(source, "token_embd_norm", c.width));
  for (int32_t i = 0; i < c.layers; ++i) {
    ASSIGN_OR_RETURN(EncoderLayerWeights layer,
                     LoadEncoderLayer(source, config, "blk." + std::to_string(i) + "."));
    weights.layers.push_back(std::move(layer));
  }
  if (options.storage == WeightStorage::kMapped) weights.backing = options.mapped;
  return weights;
}

}  // namespace millrace
