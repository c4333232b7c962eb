#include "conversion/hugging_face_encoder.h"

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "conversion/hugging_face_files.h"
#include "conversion/metadata_entries.h"
#include "safetensors/safetensors.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using EncoderJson = nlohmann::json;

struct EncoderShape {
  std::string architecture;  // bert, nomic-bert
  int64_t layers = 0, width = 0, ff_width = 0, heads = 0, context = 0, token_types = 0;
  double epsilon = 1e-12;
  bool is_nomic() const { return architecture == "nomic-bert"; }
};

Status RequireText(const EncoderJson& config, const char* key, std::string_view fallback,
                   std::string_view wanted) {
  const std::string found = config.value(key, std::string(fallback));
  if (found == wanted) return {};
  return Error{"config.json: " + std::string(key) + " '" + found + "' is not supported; known is " +
                   std::string(wanted),
               ErrorKind::kUnsupported};
}

Result<EncoderShape> ReadBertShape(const EncoderJson& config) {
  EncoderShape s{.architecture = "bert"};
  ASSIGN_OR_RETURN(s.layers, Number(config, "num_hidden_layers"));
  ASSIGN_OR_RETURN(s.width, Number(config, "hidden_size"));
  ASSIGN_OR_RETURN(s.ff_width, Number(config, "intermediate_size"));
  ASSIGN_OR_RETURN(s.heads, Number(config, "num_attention_heads"));
  ASSIGN_OR_RETURN(s.context, Number(config, "max_position_embeddings"));
  s.epsilon = Real(config, "layer_norm_eps", 1e-12);
  RETURN_IF_ERROR(RequireText(config, "hidden_act", "gelu", "gelu"));
  RETURN_IF_ERROR(RequireText(config, "position_embedding_type", "absolute", "absolute"));
  return s;
}

Result<EncoderShape> ReadNomicShape(const EncoderJson& config) {
  EncoderShape s{.architecture = "nomic-bert"};
  ASSIGN_OR_RETURN(s.layers, Number(config, "n_layer"));
  ASSIGN_OR_RETURN(s.width, Number(config, "n_embd"));
  ASSIGN_OR_RETURN(s.ff_width, Number(config, "n_inner"));
  ASSIGN_OR_RETURN(s.heads, Number(config, "n_head"));
  ASSIGN_OR_RETURN(s.context, Number(config, "n_positions"));
  // Past the length of its training the model stretches its positions, which is not done here.
  ASSIGN_OR_RETURN(const int64_t trained, Number(config, "max_trained_positions", s.context));
  s.context = std::min(s.context, trained);
  s.epsilon = Real(config, "layer_norm_epsilon", 1e-12);
  RETURN_IF_ERROR(RequireText(config, "activation_function", "swiglu", "swiglu"));
  if (config.value("prenorm", false) || config.value("num_experts", 0) > 0 ||
      Real(config, "rotary_emb_fraction", 1.0) != 1.0) {
    return Error{
        "config.json: this nomic_bert has prenorm, experts or a partial rotary embedding, "
        "which are not supported",
        ErrorKind::kUnsupported};
  }
  return s;
}

// What stands behind the layer's number.
std::optional<std::string> LayerPart(const std::string& rest) {
  static constexpr std::pair<std::string_view, std::string_view> kParts[] = {
      {"attention.self.query.", "attn_q."},
      {"attention.self.key.", "attn_k."},
      {"attention.self.value.", "attn_v."},
      {"attention.output.dense.", "attn_output."},
      {"attention.output.LayerNorm.", "attn_output_norm."},
      {"intermediate.dense.", "ffn_up."},
      {"output.dense.", "ffn_down."},
      {"output.LayerNorm.", "layer_output_norm."},
      {"attn.Wqkv.", "attn_qkv."},
      {"attn.out_proj.", "attn_output."},
      {"mlp.fc11.", "ffn_up."},
      {"mlp.fc12.", "ffn_gate."},
      {"mlp.fc2.", "ffn_down."},
      {"norm1.", "attn_output_norm."},
      {"norm2.", "layer_output_norm."}};
  for (const auto& [from, to] : kParts) {
    if (rest.starts_with(from)) return std::string(to) + rest.substr(from.size());
  }
  return std::nullopt;
}

// "bert.encoder.layer.3.output.dense.bias" -> "blk.3.ffn_down.bias"; nothing for names that are
// not needed (heads for training, position ids).
std::optional<std::string> EncoderName(std::string name) {
  for (const std::string_view prefix : {"bert.", "model."}) {
    if (name.starts_with(prefix)) name = name.substr(prefix.size());
  }
  if (name.ends_with(".gamma")) name.replace(name.size() - 5, 5, "weight");
  if (name.ends_with(".beta")) name.replace(name.size() - 4, 4, "bias");
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"embeddings.word_embeddings.", "token_embd."},
      {"embeddings.token_type_embeddings.", "token_types."},
      {"embeddings.position_embeddings.", "position_embd."},
      {"embeddings.LayerNorm.", "token_embd_norm."},
      {"emb_ln.", "token_embd_norm."},
      {"pooler.dense.", "cls."},
      {"classifier.", "cls.output."}};
  for (const auto& [from, to] : kNames) {
    if (name.starts_with(from)) return std::string(to) + name.substr(from.size());
  }
  for (const std::string_view prefix : {"encoder.layer.", "encoder.layers."}) {
    if (!name.starts_with(prefix)) continue;
    const size_t dot = name.find('.', prefix.size());
    if (dot == std::string::npos) return std::nullopt;
    const auto part = LayerPart(name.substr(dot + 1));
    if (!part) return std::nullopt;
    return "blk." + name.substr(prefix.size(), dot - prefix.size()) + "." + *part;
  }
  return std::nullopt;
}

using TensorMap = std::map<std::string, SourceTensor>;

Result<TensorMap> ReadEncoderTensors(const fs::path& folder, std::vector<MappedFile>& files) {
  TensorMap found;
  ASSIGN_OR_RETURN(const std::vector<fs::path> paths, SafetensorsIn(folder));
  for (const fs::path& path : paths) {
    ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path.string()));
    ASSIGN_OR_RETURN(const SafetensorsFile tensors, ParseSafetensors(file.bytes(), path.string()));
    for (const auto& [name, tensor] : tensors) {
      const auto gguf_name = EncoderName(name);
      if (!gguf_name) continue;
      SourceTensor t;
      t.name = *gguf_name;
      t.type = tensor.type;
      t.shape.assign(tensor.shape.rbegin(), tensor.shape.rend());
      if (t.shape.empty()) return Error{"tensor '" + name + "' has no dimensions"};
      t.data = tensor.data;
      found[*gguf_name] = std::move(t);
    }
    files.push_back(std::move(file));
  }
  return found;
}

// A pooler without a classifier was trained for another task than making vectors.
Result<bool> KeepClassifier(TensorMap& tensors) {
  const auto output = tensors.find("cls.output.weight");
  if (output == tensors.end()) {
    tensors.erase("cls.weight");
    tensors.erase("cls.bias");
    return false;
  }
  if (output->second.rows() == 1) return true;
  return Error{"the classifier has " + std::to_string(output->second.rows()) +
                   " outputs; a reranker has one",
               ErrorKind::kUnsupported};
}

Status CheckEncoderComplete(const EncoderShape& shape, const TensorMap& tensors,
                            const std::string& folder) {
  std::vector<std::string> names = {"token_embd.weight", "token_embd_norm.weight",
                                    "token_embd_norm.bias"};
  if (!shape.is_nomic()) names.emplace_back("position_embd.weight");
  std::vector<const char*> parts = {
      "attn_output.weight", "attn_output_norm.weight",  "attn_output_norm.bias", "ffn_up.weight",
      "ffn_down.weight",    "layer_output_norm.weight", "layer_output_norm.bias"};
  for (const char* part : {"attn_q.weight", "attn_k.weight", "attn_v.weight"}) {
    if (!shape.is_nomic()) parts.push_back(part);
  }
  for (const char* part : {"attn_qkv.weight", "ffn_gate.weight"}) {
    if (shape.is_nomic()) parts.push_back(part);
  }
  for (int64_t i = 0; i < shape.layers; ++i) {
    for (const char* part : parts) names.push_back("blk." + std::to_string(i) + "." + part);
  }
  for (const std::string& name : names) {
    if (tensors.contains(name)) continue;
    return Error{folder + ": tensor '" + name +
                 "' is missing: is a shard of the download missing?"};
  }
  return {};
}

// GGUF's number of the pooling in sentence-transformers' files; nothing where there are none.
Result<std::optional<int64_t>> PoolingOf(const fs::path& folder) {
  ASSIGN_OR_RETURN(const EncoderJson pooling,
                   ReadJson(folder / "1_Pooling" / "config.json", false));
  constexpr std::pair<const char*, int64_t> kModes[] = {{"pooling_mode_mean_tokens", 1},
                                                        {"pooling_mode_cls_token", 2},
                                                        {"pooling_mode_lasttoken", 3}};
  if (!pooling.is_object()) return std::optional<int64_t>();
  for (const auto& [mode, number] : kModes) {
    if (pooling.contains(mode) && pooling[mode] == true) return std::optional<int64_t>(number);
  }
  return Error{"1_Pooling/config.json asks for a pooling other than mean, cls and last token",
               ErrorKind::kUnsupported};
}

void AddEncoderHyperparameters(const EncoderShape& shape, const EncoderJson& config,
                               const std::string& name, std::optional<int64_t> pooling,
                               MetadataEntries& out) {
  const std::string p = shape.architecture + ".";
  out.AddString("general.architecture", shape.architecture);
  out.AddString("general.type", "model");
  out.AddString("general.name", name);
  out.AddU32(p + "context_length", shape.context);
  out.AddU32(p + "embedding_length", shape.width);
  out.AddU32(p + "block_count", shape.layers);
  out.AddU32(p + "feed_forward_length", shape.ff_width);
  out.AddU32(p + "attention.head_count", shape.heads);
  out.AddF32(p + "attention.layer_norm_epsilon", shape.epsilon);
  out.AddBool(p + "attention.causal", false);
  if (pooling) out.AddU32(p + "pooling_type", *pooling);
  if (shape.is_nomic()) out.AddF32(p + "rope.freq_base", Real(config, "rotary_emb_base", 10000));
  out.AddU32("tokenizer.ggml.token_type_count", shape.token_types);
}

}  // namespace

bool IsEncoderConfig(const nlohmann::json& config) {
  const std::string type = config.value("model_type", "");
  return type == "bert" || type == "nomic_bert";
}

Result<ModelSource> SourceFromEncoder(const fs::path& folder, const TokenizerFiles& files) {
  const bool nomic = files.config.value("model_type", "") == "nomic_bert";
  ASSIGN_OR_RETURN(EncoderShape shape,
                   nomic ? ReadNomicShape(files.config) : ReadBertShape(files.config));
  const auto backing = std::make_shared<std::vector<MappedFile>>();
  ASSIGN_OR_RETURN(TensorMap tensors, ReadEncoderTensors(folder, *backing));
  ASSIGN_OR_RETURN(const bool ranks, KeepClassifier(tensors));
  RETURN_IF_ERROR(CheckEncoderComplete(shape, tensors, folder.string()));
  ASSIGN_OR_RETURN(std::optional<int64_t> pooling, PoolingOf(folder));
  if (ranks) pooling = 4;
  const auto types = tensors.find("token_types.weight");
  shape.token_types = types == tensors.end() ? 0 : types->second.rows();

  ModelSource source;
  source.name = folder.string();
  source.architecture = shape.architecture;
  source.layers = static_cast<int32_t>(shape.layers);
  source.heads = source.kv_heads = static_cast<int32_t>(shape.heads);
  const int64_t vocab = tensors.at("token_embd.weight").rows();
  for (auto& [name, tensor] : tensors) source.tensors.push_back(std::move(tensor));
  MetadataEntries out(source.metadata);
  const fs::path clean = folder.has_filename() ? folder : folder.parent_path();
  AddEncoderHyperparameters(shape, files.config, clean.filename().string(), pooling, out);
  RETURN_IF_ERROR(AddTokenizer(files, vocab, out));
  source.release = [backing](std::span<const std::byte> part) {
    for (const MappedFile& f : *backing) {
      const auto bytes = f.bytes();
      if (part.data() >= bytes.data() && part.data() < bytes.data() + bytes.size()) f.Release(part);
    }
  };
  source.backing = backing;
  return source;
}

}  // namespace millrace
