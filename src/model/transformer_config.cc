#include "model/transformer_config.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "gguf/gguf.h"

namespace millrace {
namespace {

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();

// Keys of one architecture: "llama.block_count" and so on.
class Keys {
 public:
  Keys(const GgufFile& file, const std::string& prefix) : file_(file), prefix_(prefix + ".") {}

  Result<int32_t> Required(const std::string& key, int64_t low, int64_t high) const {
    ASSIGN_OR_RETURN(const int64_t value, file_.RequireInt(prefix_ + key, low, high));
    return static_cast<int32_t>(value);
  }
  Result<std::optional<int32_t>> Optional(const std::string& key, int64_t low, int64_t high) const {
    ASSIGN_OR_RETURN(const auto value, file_.FindInt(prefix_ + key, low, high));
    if (!value) return std::optional<int32_t>();
    return std::optional<int32_t>(static_cast<int32_t>(*value));
  }
  // A float that must be finite and in [low, high].
  Result<float> FloatOr(const std::string& key, float fallback, double low, double high) const {
    ASSIGN_OR_RETURN(const auto value, file_.FindFloat(prefix_ + key));
    if (!value) return fallback;
    if (!(*value >= low && *value <= high)) {
      return Error{file_.name() + ": the value of '" + prefix_ + key + "' is " +
                   std::to_string(*value) + ", outside " + std::to_string(low) + " to " +
                   std::to_string(high)};
    }
    return static_cast<float>(*value);
  }
  const std::string& prefix() const { return prefix_; }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

Status ReadScaling(const GgufFile& file, const Keys& keys, TransformerConfig& config) {
  RopeConfig& rope = config.rope;
  ASSIGN_OR_RETURN(const auto type, file.FindString(keys.prefix() + "rope.scaling.type"));
  ASSIGN_OR_RETURN(const float old_linear, keys.FloatOr("rope.scale_linear", 1.0f, 1e-3, 1e6));
  ASSIGN_OR_RETURN(const float factor, keys.FloatOr("rope.scaling.factor", old_linear, 1e-3, 1e6));
  const std::string_view kind = type.value_or(factor != 1.0f ? "linear" : "none");
  if (kind == "linear") {
    rope.linear_factor = factor;
  } else if (kind == "yarn") {
    YarnConfig yarn;
    yarn.factor = factor;
    ASSIGN_OR_RETURN(const auto original,
                     keys.Optional("rope.scaling.original_context_length", 1, kMaxInt32));
    yarn.original_context = static_cast<float>(original.value_or(config.context_length));
    ASSIGN_OR_RETURN(yarn.beta_fast, keys.FloatOr("rope.scaling.yarn_beta_fast", 32.0f, 1e-3, 1e6));
    ASSIGN_OR_RETURN(yarn.beta_slow, keys.FloatOr("rope.scaling.yarn_beta_slow", 1.0f, 1e-3, 1e6));
    ASSIGN_OR_RETURN(yarn.extrapolation,
                     keys.FloatOr("rope.scaling.yarn_ext_factor", 1.0f, 0, 1e3));
    ASSIGN_OR_RETURN(yarn.attention_factor,
                     keys.FloatOr("rope.scaling.attn_factor", 1.0f, 1e-3, 1e3));
    rope.yarn = yarn;
  } else if (kind != "none") {
    return Error{file.name() + ": rope scaling '" + std::string(kind) +
                     "' is not supported; known are none, linear, yarn",
                 ErrorKind::kUnsupported};
  }
  return {};
}

// rope_freqs.weight: llama 3 divides each theta by its factor.
Status ReadFrequencyFactors(const GgufFile& file, TransformerConfig& config) {
  const GgufTensor* factors = file.FindTensor("rope_freqs.weight");
  if (factors == nullptr) return {};
  const auto count = static_cast<size_t>(config.rope.dimensions / 2);
  if (factors->type != DType::kF32 || factors->elements() != static_cast<int64_t>(count)) {
    return Error{file.name() + ": tensor 'rope_freqs.weight' must hold " + std::to_string(count) +
                 " F32 values"};
  }
  config.rope.frequency_factors.resize(count);
  std::memcpy(config.rope.frequency_factors.data(), factors->data.data(), count * sizeof(float));
  for (const float f : config.rope.frequency_factors) {
    if (!(std::isfinite(f) && f > 0)) {
      return Error{file.name() +
                   ": tensor 'rope_freqs.weight' holds a value that is not a positive number"};
    }
  }
  return {};
}

Status ReadHeads(const GgufFile& file, const Keys& keys, TransformerConfig& config) {
  ASSIGN_OR_RETURN(config.heads, keys.Required("attention.head_count", 1, 1 << 14));
  ASSIGN_OR_RETURN(const auto kv_heads, keys.Optional("attention.head_count_kv", 1, 1 << 14));
  config.kv_heads = kv_heads.value_or(config.heads);
  if (config.heads % config.kv_heads != 0) {
    return Error{file.name() + ": " + std::to_string(config.heads) +
                 " attention heads are not a multiple of " + std::to_string(config.kv_heads) +
                 " KV heads"};
  }
  ASSIGN_OR_RETURN(const auto key_length, keys.Optional("attention.key_length", 2, 1 << 14));
  ASSIGN_OR_RETURN(const auto value_length, keys.Optional("attention.value_length", 2, 1 << 14));
  if (!key_length && config.width % config.heads != 0) {
    return Error{file.name() + ": the width " + std::to_string(config.width) +
                 " is not a multiple of " + std::to_string(config.heads) + " heads, and '" +
                 keys.prefix() + "attention.key_length' is missing"};
  }
  config.head_dim = key_length.value_or(config.width / config.heads);
  if (value_length.value_or(config.head_dim) != config.head_dim || config.head_dim % 2 != 0) {
    return Error{
        file.name() +
            ": heads whose keys and values differ in length, or of odd length, are not supported",
        ErrorKind::kUnsupported};
  }
  return {};
}

Result<int32_t> ReadVocabularySize(const GgufFile& file) {
  const GgufTensor* embedding = file.FindTensor("token_embd.weight");
  if (embedding == nullptr) return Error{file.name() + ": tensor 'token_embd.weight' is missing"};
  if (embedding->shape.size() != 2 || embedding->rows() > kMaxInt32) {
    return Error{file.name() +
                 ": tensor 'token_embd.weight' is not a matrix of width x vocabulary"};
  }
  return static_cast<int32_t>(embedding->rows());
}

}  // namespace

Result<TransformerConfig> ReadCommonConfig(const GgufFile& file, const std::string& architecture) {
  const Keys keys(file, architecture);
  TransformerConfig config;
  config.architecture = architecture;
  ASSIGN_OR_RETURN(config.layers, keys.Required("block_count", 1, 1024));
  ASSIGN_OR_RETURN(config.width, keys.Required("embedding_length", 2, 1 << 20));
  ASSIGN_OR_RETURN(config.ff_width, keys.Required("feed_forward_length", 1, 1 << 24));
  ASSIGN_OR_RETURN(config.context_length, keys.Required("context_length", 1, 1 << 24));
  RETURN_IF_ERROR(ReadHeads(file, keys, config));
  ASSIGN_OR_RETURN(config.vocab_size, ReadVocabularySize(file));
  ASSIGN_OR_RETURN(config.norm_epsilon,
                   keys.FloatOr("attention.layer_norm_rms_epsilon", 1e-5f, 0, 1));
  config.attention_scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));

  ASSIGN_OR_RETURN(const auto dimensions,
                   keys.Optional("rope.dimension_count", 2, config.head_dim));
  config.rope.dimensions = dimensions.value_or(config.head_dim);
  if (config.rope.dimensions % 2 != 0) {
    return Error{file.name() + ": '" + keys.prefix() + "rope.dimension_count' is odd"};
  }
  ASSIGN_OR_RETURN(const float base, keys.FloatOr("rope.freq_base", 10000.0f, 1, 1e12));
  config.rope.base = base;
  RETURN_IF_ERROR(ReadScaling(file, keys, config));
  RETURN_IF_ERROR(ReadFrequencyFactors(file, config));

  ASSIGN_OR_RETURN(const auto experts, keys.Optional("expert_count", 0, kMaxInt32));
  if (experts.value_or(0) > 0) {
    return Error{file.name() + ": mixture-of-experts models ('" + keys.prefix() +
                     "expert_count' is " + std::to_string(*experts) + ") are not supported",
                 ErrorKind::kUnsupported};
  }
  config.is_local.assign(static_cast<size_t>(config.layers), false);
  return config;
}

Result<TransformerConfig> ReadTransformerConfig(const GgufFile& file) {
  ASSIGN_OR_RETURN(const std::string_view architecture, file.RequireString("general.architecture"));
  if (architecture == "llama") return ReadLlamaConfig(file);
  if (architecture == "qwen2") return ReadQwen2Config(file);
  if (architecture == "qwen3") return ReadQwen3Config(file);
  if (architecture == "gemma3") return ReadGemma3Config(file);
  return Error{file.name() + ": architecture '" + std::string(architecture) +
                   "' is not supported; known are llama, qwen2, qwen3, gemma3",
               ErrorKind::kUnsupported};
}

}  // namespace millrace
