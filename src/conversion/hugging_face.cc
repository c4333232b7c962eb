#include "conversion/hugging_face.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <list>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <numbers>
#include <optional>
#include <utility>

#include "base/mapped_file.h"
#include "conversion/hugging_face_encoder.h"
#include "conversion/hugging_face_files.h"
#include "conversion/hugging_face_tokenizer.h"
#include "conversion/metadata_entries.h"
#include "safetensors/safetensors.h"

namespace millrace {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

// What the spans of the source view.
struct Backing {
  std::vector<MappedFile> files;
  std::vector<float> rope_factors;
  std::list<std::vector<std::byte>> biases;  // of llama's Q and K, in GGUF's order
};

struct Shape {
  std::string architecture;
  int64_t layers = 0, width = 0, ff_width = 0, heads = 0, kv_heads = 0, head_dim = 0, vocab = 0;
  bool tied = false;
};

std::string ReadText(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

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

Result<Shape> ReadShape(const Json& config) {
  Shape s;
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

// "model.layers.3.self_attn.q_proj.weight" -> "blk.3.attn_q.weight"; nothing for names that are not
// the text model's.
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

// Rows of a Q or K matrix from halves (row j * D/2 + i of a head) to adjacent pairs (2 i + j).
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

// The elements of a vector in another order.
std::span<const std::byte> Reordered(std::span<const std::byte> data,
                                     const std::vector<int32_t>& order, Backing& backing) {
  const size_t size = data.size() / order.size();
  std::vector<std::byte>& to = backing.biases.emplace_back(data.size());
  for (size_t i = 0; i < order.size(); ++i)
    std::memcpy(to.data() + i * size, data.data() + static_cast<size_t>(order[i]) * size, size);
  return to;
}

Result<SourceTensor> MakeTensor(const std::string& name, const SafetensorsTensor& from,
                                const Shape& shape, Backing& backing) {
  SourceTensor t;
  t.name = name;
  t.type = from.type;
  t.shape.assign(from.shape.rbegin(), from.shape.rend());
  if (t.shape.empty()) return Error{"tensor '" + name + "' has no dimensions"};
  t.data = from.data;
  if (shape.architecture == "gemma3" && name.ends_with("norm.weight")) t.added = 1;
  const bool q = name.find(".attn_q.") != std::string::npos;
  const bool k = name.find(".attn_k.") != std::string::npos;
  if (shape.architecture != "llama" || (!q && !k)) return t;
  const int64_t heads = q ? shape.heads : shape.kv_heads;
  const bool bias = t.shape.size() == 1;
  const int64_t rows = bias ? t.shape[0] : t.rows();
  if (rows != heads * shape.head_dim) {
    return Error{"tensor '" + name + "' has " + std::to_string(rows) +
                 " rows, but the heads need " + std::to_string(heads * shape.head_dim)};
  }
  std::vector<int32_t> order = AdjacentPairs(heads, shape.head_dim);
  if (bias) {
    t.data = Reordered(t.data, order, backing);
  } else {
    t.row_order = std::move(order);
  }
  return t;
}

Status AddTensors(const fs::path& folder, const Shape& shape, Backing& backing,
                  ModelSource& source) {
  ASSIGN_OR_RETURN(const std::vector<fs::path> paths, SafetensorsIn(folder));
  std::map<std::string, SourceTensor> found;
  for (const fs::path& path : paths) {
    ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path.string()));
    ASSIGN_OR_RETURN(const SafetensorsFile tensors, ParseSafetensors(file.bytes(), path.string()));
    for (const auto& [name, tensor] : tensors) {
      const auto gguf_name = GgufName(name, shape.architecture == "gemma3");
      if (!gguf_name) continue;  // rotary tables, vision towers
      if (shape.tied && *gguf_name == "output.weight") continue;
      ASSIGN_OR_RETURN(SourceTensor t, MakeTensor(*gguf_name, tensor, shape, backing));
      found[*gguf_name] = std::move(t);
    }
    backing.files.push_back(std::move(file));
  }
  // Embedding, output, then layer by layer, as GGUF files usually stand.
  for (const char* name : {"token_embd.weight", "output.weight", "output_norm.weight"}) {
    if (auto node = found.extract(name)) source.tensors.push_back(std::move(node.mapped()));
  }
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    for (auto it = found.lower_bound(blk); it != found.end() && it->first.starts_with(blk); ++it)
      source.tensors.push_back(std::move(it->second));
  }
  return {};
}

Status CheckComplete(const Shape& shape, const ModelSource& source) {
  static constexpr const char* kNeeded[] = {"attn_q",      "attn_k",    "attn_v",
                                            "attn_output", "ffn_gate",  "ffn_up",
                                            "ffn_down",    "attn_norm", "ffn_norm"};
  std::map<std::string, const SourceTensor*> by_name;
  for (const SourceTensor& t : source.tensors) by_name[t.name] = &t;
  std::vector<std::string> names = {"token_embd.weight", "output_norm.weight"};
  for (int64_t i = 0; i < shape.layers; ++i) {
    for (const char* part : kNeeded)
      names.push_back("blk." + std::to_string(i) + "." + part + ".weight");
  }
  for (const std::string& name : names) {
    if (!by_name.contains(name)) {
      return Error{source.name + ": tensor '" + name +
                   "' is missing: is a shard of the download missing?"};
    }
  }
  return {};
}

const Json& RopeOf(const Json& config) {
  static const Json kNone;
  if (config.contains("rope_scaling") && config["rope_scaling"].is_object())
    return config["rope_scaling"];
  if (config.contains("rope_parameters") && config["rope_parameters"].is_object())
    return config["rope_parameters"];
  return kNone;
}

// Llama 3's factors, by which each frequency is divided, as a tensor.
void AddRopeFactors(const Json& rope, double base, const Shape& shape, Backing& backing,
                    ModelSource& source) {
  const double factor = Real(rope, "factor", 8), low = Real(rope, "low_freq_factor", 1);
  const double high = Real(rope, "high_freq_factor", 4);
  const double context = Real(rope, "original_max_position_embeddings", 8192);
  for (int64_t i = 0; i < shape.head_dim / 2; ++i) {
    const double frequency =
        std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(shape.head_dim));
    const double wave = 2 * std::numbers::pi / frequency;
    double divisor = 1;
    if (wave > context / low) {
      divisor = factor;
    } else if (wave >= context / high) {
      const double smooth = (context / wave - low) / (high - low);
      divisor = 1 / ((1 - smooth) / factor + smooth);
    }
    backing.rope_factors.push_back(static_cast<float>(divisor));
  }
  SourceTensor t;
  t.name = "rope_freqs.weight";
  t.shape = {shape.head_dim / 2};
  t.data = std::as_bytes(std::span(backing.rope_factors));
  source.tensors.push_back(std::move(t));
}

Status AddRope(const Json& config, const Shape& shape, MetadataEntries& out, Backing& backing,
               ModelSource& source) {
  const Json& rope = RopeOf(config);
  const double base = Real(config, "rope_theta",
                           Real(rope, "rope_theta", shape.architecture == "gemma3" ? 1e6 : 1e4));
  const std::string p = shape.architecture + ".";
  out.AddF32(p + "rope.freq_base", base);
  std::string type;
  if (rope.is_object()) type = rope.value("rope_type", rope.value("type", std::string()));
  if (type == "linear") {
    out.AddString(p + "rope.scaling.type", "linear");
    out.AddF32(p + "rope.scaling.factor", Real(rope, "factor", 1));
  } else if (type == "yarn") {
    out.AddString(p + "rope.scaling.type", "yarn");
    out.AddF32(p + "rope.scaling.factor", Real(rope, "factor", 1));
    ASSIGN_OR_RETURN(const int64_t original, Number(rope, "original_max_position_embeddings"));
    out.AddU32(p + "rope.scaling.original_context_length", original);
  } else if (type == "llama3") {
    AddRopeFactors(rope, base, shape, backing, source);
  } else if (!type.empty() && type != "default") {
    return Error{"config.json: rope scaling '" + type + "' is not supported",
                 ErrorKind::kUnsupported};
  }
  return {};
}

Status AddHyperparameters(const Json& config, const Shape& shape, const std::string& name,
                          MetadataEntries& out) {
  const std::string p = shape.architecture + ".";
  out.AddString("general.architecture", shape.architecture);
  out.AddString("general.type", "model");
  out.AddString("general.name", name);
  ASSIGN_OR_RETURN(const int64_t context, Number(config, "max_position_embeddings", 131072));
  out.AddU32(p + "context_length", context);
  out.AddU32(p + "embedding_length", shape.width);
  out.AddU32(p + "block_count", shape.layers);
  out.AddU32(p + "feed_forward_length", shape.ff_width);
  out.AddU32(p + "attention.head_count", shape.heads);
  out.AddU32(p + "attention.head_count_kv", shape.kv_heads);
  out.AddU32(p + "attention.key_length", shape.head_dim);
  out.AddU32(p + "attention.value_length", shape.head_dim);
  if (shape.architecture == "llama") out.AddU32(p + "rope.dimension_count", shape.head_dim);
  out.AddF32(p + "attention.layer_norm_rms_epsilon", Real(config, "rms_norm_eps", 1e-6));
  out.AddU32(p + "vocab_size", shape.vocab);
  if (shape.architecture != "gemma3" && config.value("model_type", "") != "mistral") return {};
  if (config.contains("sliding_window") && config["sliding_window"].is_number_unsigned())
    out.AddU32(p + "attention.sliding_window", config["sliding_window"].get<int64_t>());
  const double softcap = Real(config, "final_logit_softcapping", 0);
  if (softcap > 0) out.AddF32(p + "final_logit_softcapping", softcap);
  return {};
}

}  // namespace

Result<ModelSource> SourceFromHuggingFace(const std::string& folder) {
  const fs::path root(folder);
  ASSIGN_OR_RETURN(Json config, ReadJson(root / "config.json", true));
  ASSIGN_OR_RETURN(const Json tokenizer, ReadJson(root / "tokenizer.json", true));
  ASSIGN_OR_RETURN(const Json tokenizer_config, ReadJson(root / "tokenizer_config.json", false));
  if (!config.is_object()) return Error{"config.json holds no object"};
  if (config.contains("text_config") && config["text_config"].is_object()) {
    Json text = config["text_config"];
    if (!text.contains("model_type")) text["model_type"] = config["model_type"];
    config = std::move(text);
  }
  if (IsEncoderConfig(config)) {
    return SourceFromEncoder(root, {tokenizer, tokenizer_config, config, ""});
  }
  ASSIGN_OR_RETURN(Shape shape, ReadShape(config));
  const auto backing = std::make_shared<Backing>();
  ModelSource source;
  source.name = folder;
  source.architecture = shape.architecture;
  source.layers = static_cast<int32_t>(shape.layers);
  source.heads = static_cast<int32_t>(shape.heads);
  source.kv_heads = static_cast<int32_t>(shape.kv_heads);
  RETURN_IF_ERROR(AddTensors(root, shape, *backing, source));
  RETURN_IF_ERROR(CheckComplete(shape, source));
  shape.vocab = source.Find("token_embd.weight")->rows();
  MetadataEntries out(source.metadata);
  const fs::path clean = root.has_filename() ? root : root.parent_path();
  RETURN_IF_ERROR(AddHyperparameters(config, shape, clean.filename().string(), out));
  RETURN_IF_ERROR(AddRope(config, shape, out, *backing, source));
  const TokenizerFiles files = {tokenizer, tokenizer_config, config,
                                ReadText(root / "chat_template.jinja")};
  RETURN_IF_ERROR(AddTokenizer(files, shape.vocab, out));
  source.release = [backing](std::span<const std::byte> part) {
    for (const MappedFile& f : backing->files) {
      const auto bytes = f.bytes();
      if (part.data() >= bytes.data() && part.data() < bytes.data() + bytes.size()) f.Release(part);
    }
  };
  source.backing = backing;
  return source;
}

}  // namespace millrace
