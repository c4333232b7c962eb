#include "conversion/hugging_face_shape.h"

#include <string_view>
#include <utility>

#include "conversion/hugging_face_files.h"

namespace millrace {

using Json = nlohmann::json;

namespace {

Result<std::string> ArchitectureOf(const Json& config) {
  const std::string type = config.value("model_type", "");
  if (type == "llama" || type == "mistral") return std::string("llama");
  if (type == "qwen2" || type == "qwen3") return type;
  if (type == "gemma3_text" || type == "gemma3") return std::string("gemma3");
  return Error{"config.json: model_type '" + type +
                   "' is not supported; known are llama, mistral, qwen2, qwen3, gemma3, "
                   "bert, nomic_bert",
               ErrorKind::kUnsupported};
}

}  // namespace

Result<HuggingFaceShape> HuggingFaceShape::Of(const Json& config) {
  HuggingFaceShape s;
  ASSIGN_OR_RETURN(s.architecture, ArchitectureOf(config));
  ASSIGN_OR_RETURN(s.layers, Number(config, "num_hidden_layers"));
  ASSIGN_OR_RETURN(s.width, Number(config, "hidden_size"));
  ASSIGN_OR_RETURN(s.ff_width, Number(config, "intermediate_size"));
  const bool gemma = s.architecture == "gemma3";
  ASSIGN_OR_RETURN(s.heads, Number(config, "num_attention_heads",
                                   gemma ? std::optional<int64_t>(8) : std::nullopt));
  ASSIGN_OR_RETURN(s.kv_heads, Number(config, "num_key_value_heads", gemma ? 4 : s.heads));
  ASSIGN_OR_RETURN(s.head_dim, Number(config, "head_dim", gemma ? 256 : s.width / s.heads));
  s.tied = config.value("tie_word_embeddings", gemma);
  if (s.heads % s.kv_heads != 0 || s.head_dim % 2 != 0)
    return Error{"config.json: the numbers of heads do not fit together"};
  return s;
}

Result<Json> ReadTextConfig(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(Json config, ReadJson(folder / "config.json", true));
  if (!config.is_object()) return Error{"config.json holds no object"};
  if (config.contains("text_config") && config["text_config"].is_object()) {
    Json text = config["text_config"];
    if (!text.contains("model_type")) text["model_type"] = config["model_type"];
    config = std::move(text);
  }
  return config;
}

std::optional<std::string> GgufName(std::string name, bool gemma) {
  for (const std::string_view prefix : {"language_model.", "model.language_model."}) {
    if (name.starts_with(prefix)) name = name.substr(prefix.size());
  }
  if (name == "lm_head.weight") return "output.weight";
  if (name.starts_with("model.")) name = name.substr(6);
  if (name == "embed_tokens.weight") return "token_embd.weight";
  if (name == "norm.weight") return "output_norm.weight";
  if (!name.starts_with("layers.")) return std::nullopt;
  const size_t dot = name.find('.', 7);
  if (dot == std::string::npos) return std::nullopt;
  const std::string layer = name.substr(7, dot - 7), rest = name.substr(dot + 1);
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"input_layernorm.", "attn_norm."},
      {"self_attn.q_proj.", "attn_q."},
      {"self_attn.k_proj.", "attn_k."},
      {"self_attn.v_proj.", "attn_v."},
      {"self_attn.o_proj.", "attn_output."},
      {"self_attn.q_norm.", "attn_q_norm."},
      {"self_attn.k_norm.", "attn_k_norm."},
      {"mlp.gate_proj.", "ffn_gate."},
      {"mlp.up_proj.", "ffn_up."},
      {"mlp.down_proj.", "ffn_down."},
      {"pre_feedforward_layernorm.", "ffn_norm."},
      {"post_feedforward_layernorm.", "post_ffw_norm."}};
  if (rest.starts_with("post_attention_layernorm."))
    return "blk." + layer + (gemma ? ".post_attention_norm." : ".ffn_norm.") + rest.substr(25);
  for (const auto& [from, to] : kNames) {
    if (rest.starts_with(from))
      return "blk." + layer + "." + std::string(to) + rest.substr(from.size());
  }
  return std::nullopt;
}

std::vector<int32_t> AdjacentPairs(int64_t heads, int64_t head_dim) {
  std::vector<int32_t> order(static_cast<size_t>(heads * head_dim));
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      for (int64_t j = 0; j < 2; ++j) {
        order[static_cast<size_t>(h * head_dim + 2 * i + j)] =
            static_cast<int32_t>(h * head_dim + j * head_dim / 2 + i);
      }
    }
  }
  return order;
}

}  // namespace millrace
