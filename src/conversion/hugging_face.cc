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
#include "conversion/hugging_face_shape.h"
#include "conversion/hugging_face_tokenizer.h"
#include "conversion/metadata_entries.h"
#include "safetensors/safetensors.h"

namespace millrace {
namespace {

using Json = nlohmann::json;
using Shape = HuggingFaceShape;
namespace fs = std::filesystem;

// What the spans of the source view.
struct Backing {
  std::vector<MappedFile> files;
  std::vector<float> rope_factors;
  std::list<std::vector<std::byte>> biases;  // of llama's Q and K, in GGUF's order
};

std::string ReadText(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
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
  ASSIGN_OR_RETURN(const Json config, ReadTextConfig(root));
  ASSIGN_OR_RETURN(const Json tokenizer, ReadJson(root / "tokenizer.json", true));
  ASSIGN_OR_RETURN(const Json tokenizer_config, ReadJson(root / "tokenizer_config.json", false));
  if (IsEncoderConfig(config)) {
    return SourceFromEncoder(root, {tokenizer, tokenizer_config, config, ""});
  }
  ASSIGN_OR_RETURN(Shape shape, HuggingFaceShape::Of(config));
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
