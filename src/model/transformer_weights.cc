#include "model/transformer_weights.h"

#include <string>
#include <utility>

#include "model/tensor_source.h"
#include "model/weight_cache.h"

namespace millrace {
namespace {

// The matrices of a layer, by the rest of their names.
constexpr struct {
  const char* name;
  WeightMatrix LayerWeights::*matrix;
} kLayerMatrices[] = {
    {"attn_q.weight", &LayerWeights::q},
    {"attn_k.weight", &LayerWeights::k},
    {"attn_v.weight", &LayerWeights::v},
    {"attn_output.weight", &LayerWeights::attention_output},
    {"ffn_gate.weight", &LayerWeights::gate},
    {"ffn_up.weight", &LayerWeights::up},
    {"ffn_down.weight", &LayerWeights::down},
};

std::vector<NamedMatrix> AllMatrices(const TransformerWeights& weights) {
  std::vector<NamedMatrix> all = {{"token_embd.weight", &weights.token_embedding}};
  if (weights.output) all.push_back({"output.weight", &*weights.output});
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    for (const auto& m : kLayerMatrices) {
      all.push_back({blk + m.name, &(weights.layers[i].*m.matrix)});
    }
  }
  return all;
}

Status LoadAttention(const TensorSource& source, const TransformerConfig& c, const std::string& blk,
                     LayerWeights& w) {
  const int64_t e = c.width, hd = c.query_width(), gd = c.kv_width(), d = c.head_dim;
  ASSIGN_OR_RETURN(w.attention_norm, source.Vector(blk + "attn_norm.weight", e));
  ASSIGN_OR_RETURN(w.q, source.Matrix(blk + "attn_q.weight", hd, e));
  ASSIGN_OR_RETURN(w.k, source.Matrix(blk + "attn_k.weight", gd, e));
  ASSIGN_OR_RETURN(w.v, source.Matrix(blk + "attn_v.weight", gd, e));
  ASSIGN_OR_RETURN(w.q_bias, source.Vector(c.qkv_bias, blk + "attn_q.bias", hd));
  ASSIGN_OR_RETURN(w.k_bias, source.Vector(c.qkv_bias, blk + "attn_k.bias", gd));
  ASSIGN_OR_RETURN(w.v_bias, source.Vector(c.qkv_bias, blk + "attn_v.bias", gd));
  ASSIGN_OR_RETURN(w.q_norm, source.Vector(c.qk_norm, blk + "attn_q_norm.weight", d));
  ASSIGN_OR_RETURN(w.k_norm, source.Vector(c.qk_norm, blk + "attn_k_norm.weight", d));
  ASSIGN_OR_RETURN(w.attention_output, source.Matrix(blk + "attn_output.weight", e, hd));
  const Presence output_bias =
      c.qkv_bias == Presence::kAbsent ? Presence::kAbsent : Presence::kOptional;
  ASSIGN_OR_RETURN(w.attention_output_bias,
                   source.Vector(output_bias, blk + "attn_output.bias", e));
  ASSIGN_OR_RETURN(w.post_attention_norm,
                   source.Vector(c.post_norms, blk + "post_attention_norm.weight", e));
  return {};
}

Status LoadFeedForward(const TensorSource& source, const TransformerConfig& c,
                       const std::string& blk, LayerWeights& w) {
  const int64_t e = c.width, f = c.ff_width;
  ASSIGN_OR_RETURN(w.ff_norm, source.Vector(blk + "ffn_norm.weight", e));
  ASSIGN_OR_RETURN(w.gate, source.Matrix(blk + "ffn_gate.weight", f, e));
  ASSIGN_OR_RETURN(w.up, source.Matrix(blk + "ffn_up.weight", f, e));
  ASSIGN_OR_RETURN(w.down, source.Matrix(blk + "ffn_down.weight", e, f));
  ASSIGN_OR_RETURN(w.post_ff_norm, source.Vector(c.post_norms, blk + "post_ffw_norm.weight", e));
  return {};
}

Result<TransformerWeights> LoadFrom(const TensorSource& source, const GgufFile& file,
                                    const TransformerConfig& config, const LoadProgress& progress) {
  TransformerWeights weights;
  ASSIGN_OR_RETURN(weights.token_embedding,
                   source.Matrix("token_embd.weight", config.vocab_size, config.width));
  ASSIGN_OR_RETURN(weights.output_norm, source.Vector("output_norm.weight", config.width));
  if (file.FindTensor("output.weight") != nullptr) {
    ASSIGN_OR_RETURN(weights.output,
                     source.Matrix("output.weight", config.vocab_size, config.width));
  }
  for (int32_t i = 0; i < config.layers; ++i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    LayerWeights layer;
    RETURN_IF_ERROR(LoadAttention(source, config, blk, layer));
    RETURN_IF_ERROR(LoadFeedForward(source, config, blk, layer));
    weights.layers.push_back(std::move(layer));
    if (progress) progress(i + 1, config.layers);
  }
  return weights;
}

void Warn(const WeightOptions& options, const std::string& sentence) {
  if (options.warn) options.warn(sentence);
}

// The weights from the cache, or nothing where there is none that serves.
std::optional<TransformerWeights> LoadFromCache(const GgufFile& file,
                                                const TransformerConfig& config, ThreadPool& pool,
                                                const WeightOptions& options) {
  auto cache = WeightCache::Open(options.cache_directory, *options.mapped->identity(), pool);
  if (!cache.ok()) {
    if (cache.error().kind != ErrorKind::kNotFound) {
      Warn(options, cache.error().message + "; packing the weights again.");
    }
    return std::nullopt;
  }
  auto weights = LoadFrom(TensorSource(file, pool, options, &*cache), file, config, {});
  if (!weights.ok()) {
    // It may be the file's own fault, which packing will then report.
    Warn(options, weights.error().message + "; packing the weights again.");
    return std::nullopt;
  }
  weights->backing = cache->mapping();
  weights->from_cache = true;
  return std::move(*weights);
}

}  // namespace

WeightStorage ChooseStorage(uint64_t weight_bytes, uint64_t kv_bytes, uint64_t available_bytes) {
  // Packing touches a panel of the file at a time beside the packed weights: a twentieth at most.
  const uint64_t needed = weight_bytes + weight_bytes / 20 + kv_bytes + kMemoryBesides;
  return needed <= available_bytes ? WeightStorage::kPacked : WeightStorage::kMapped;
}

WeightMatrix* TransformerWeights::Find(std::string_view tensor) {
  return const_cast<WeightMatrix*>(std::as_const(*this).Find(tensor));
}

const WeightMatrix* TransformerWeights::Find(std::string_view tensor) const {
  if (tensor == "token_embd.weight") return &token_embedding;
  if (tensor == "output.weight") return output ? &*output : nullptr;
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    if (!tensor.starts_with(blk)) continue;
    for (const auto& m : kLayerMatrices) {
      if (tensor.substr(blk.size()) == m.name) return &(layers[i].*m.matrix);
    }
  }
  return nullptr;
}

Result<TransformerWeights> LoadTransformerWeights(const GgufFile& file,
                                                  const TransformerConfig& config, ThreadPool& pool,
                                                  const LoadProgress& progress,
                                                  const WeightOptions& options) {
  const bool cached = !options.cache_directory.empty() && options.mapped != nullptr &&
                      options.mapped->identity() && options.storage == WeightStorage::kPacked;
  if (cached) {
    if (auto weights = LoadFromCache(file, config, pool, options)) {
      if (progress) progress(config.layers, config.layers);
      return std::move(*weights);
    }
  }
  const TensorSource source(file, pool, options, nullptr);
  ASSIGN_OR_RETURN(TransformerWeights weights, LoadFrom(source, file, config, progress));
  if (options.storage == WeightStorage::kMapped) weights.backing = options.mapped;
  if (cached) {
    const Status written = WriteWeightCache(options.cache_directory, *options.mapped->identity(),
                                            AllMatrices(weights), pool);
    if (!written.ok()) Warn(options, written.error().message + "; going on without a cache.");
  }
  return weights;
}

}  // namespace millrace
