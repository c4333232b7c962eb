#include "conversion/peft_adapter.h"

#include <cmath>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/mapped_file.h"
#include "conversion/hugging_face_files.h"
#include "conversion/hugging_face_shape.h"
#include "conversion/metadata_entries.h"
#include "conversion/peft_config.h"
#include "quantization/fit_kernels.h"
#include "safetensors/safetensors.h"

namespace millrace {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

// What the spans of the source view.
struct PeftBacking {
  MappedFile file;
  std::list<std::vector<float>> changed;  // scaled, or transposed
};

struct BaseModel {
  HuggingFaceShape shape;
  std::optional<ModelSource> file;  // a GGUF file: then shapes can be checked
};

Result<BaseModel> BaseFromGguf(const std::string& path) {
  BaseModel base;
  ASSIGN_OR_RETURN(MappedGguf opened, MappedGguf::Open(path));
  ASSIGN_OR_RETURN(base.file,
                   SourceFromGguf(std::make_shared<const MappedGguf>(std::move(opened))));
  const SourceTensor* q = base.file->Find("blk.0.attn_q.weight");
  if (q == nullptr) return Error{path + " has no 'blk.0.attn_q.weight': it is no text model"};
  base.shape.architecture = base.file->architecture;
  base.shape.layers = base.file->layers;
  base.shape.heads = base.file->heads;
  base.shape.kv_heads = base.file->kv_heads;
  base.shape.head_dim = q->rows() / base.shape.heads;
  base.shape.tied = base.file->tied();
  return base;
}

Result<BaseModel> ReadBase(const fs::path& folder, const std::string& given,
                           const PeftConfig& config) {
  std::error_code ignored;
  if (!given.empty() && !fs::is_directory(given, ignored)) return BaseFromGguf(given);
  fs::path path = given;
  if (given.empty()) {
    for (const fs::path& candidate : {fs::path(config.base), folder / config.base}) {
      const bool is_there = !config.base.empty() && fs::exists(candidate / "config.json", ignored);
      if (path.empty() && is_there) path = candidate;
    }
  }
  if (path.empty()) {
    return Error{"the base model '" + config.base +
                     "' that adapter_config.json names is no folder here: give the model's folder "
                     "or GGUF file with --base (nothing is downloaded)",
                 ErrorKind::kNotFound};
  }
  ASSIGN_OR_RETURN(const Json text, ReadTextConfig(path));
  BaseModel base;
  ASSIGN_OR_RETURN(base.shape, HuggingFaceShape::Of(text));
  return base;
}

// The two halves of a pair, as the file has them.
struct Half {
  std::string name;  // in the file
  SafetensorsTensor tensor;
};
struct FoundPair {
  std::optional<Half> a, b;
  bool embeds = false;
};

// "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight" -> the module and which half; PEFT
// also writes the adapter's name before "weight", and embeddings' halves without "weight".
struct HalfName {
  std::string module;
  bool is_a = false, embeds = false;
};
std::optional<HalfName> ParseHalf(std::string_view name) {
  for (const std::string_view prefix : {"base_model.model.", "base_model."}) {
    if (name.starts_with(prefix)) {
      name.remove_prefix(prefix.size());
      break;
    }
  }
  for (const bool embeds : {false, true}) {
    for (const bool is_a : {true, false}) {
      const std::string part =
          std::string(embeds ? ".lora_embedding_" : ".lora_") + (is_a ? "A" : "B");
      const size_t at = name.rfind(part);
      if (at == name.npos) continue;
      std::string_view rest = name.substr(at + part.size());
      if (!embeds) {
        if (!rest.ends_with(".weight")) continue;
        rest.remove_suffix(7);
      }
      if (!rest.empty() && (rest[0] != '.' || rest.find('.', 1) != rest.npos)) continue;
      return HalfName{std::string(name.substr(0, at)), is_a, embeds};
    }
  }
  return std::nullopt;
}

Error NoHalf(const std::string& file, const std::string& name) {
  const auto holds = [&](std::string_view part) { return name.find(part) != name.npos; };
  std::string why = "is no half of a LoRA pair, and nothing else can be adapted";
  if (holds("lora_magnitude_vector")) why = "belongs to DoRA, which is not supported";
  if (holds("modules_to_save") || holds("embed_tokens.weight") || holds("lm_head.weight")) {
    why =
        "is a whole matrix in place of the base model's (modules_to_save): merge the adapter "
        "into the model and convert that";
  }
  return Error{file + ": tensor '" + name + "' " + why, ErrorKind::kUnsupported};
}

Result<std::map<std::string, FoundPair>> FindPairs(const SafetensorsFile& tensors,
                                                   const std::string& file) {
  std::map<std::string, FoundPair> pairs;
  for (const auto& [name, tensor] : tensors) {
    const auto half = ParseHalf(name);
    if (!half) return NoHalf(file, name);
    if (tensor.shape.size() != 2) {
      return Error{file + ": tensor '" + name + "' is no matrix: only linear layers are supported",
                   ErrorKind::kUnsupported};
    }
    FoundPair& pair = pairs[half->module];
    pair.embeds |= half->embeds;
    (half->is_a ? pair.a : pair.b) = Half{name, tensor};
  }
  if (pairs.empty()) return Error{file + " holds no tensors"};
  return pairs;
}

class PairWriter {
 public:
  PairWriter(const PeftConfig& config, const BaseModel& base, PeftBacking& backing,
             ModelSource& source)
      : config_(config), base_(base), backing_(backing), source_(source) {}

  Status Add(const std::string& module, const FoundPair& pair) {
    if (!pair.a || !pair.b) {
      return Error{"'" + module + "' has only half of its LoRA pair: is the file whole?"};
    }
    ASSIGN_OR_RETURN(const std::string name, NameOf(module));
    const auto &a = pair.a->tensor.shape, &b = pair.b->tensor.shape;
    const int64_t rank = a[0];
    ASSIGN_OR_RETURN(const PeftConfig::Scale scale, config_.ScaleOf(module));
    if (b[1] != rank || rank != scale.rank) {
      return Error{"the pair of '" + module + "' has ranks " + std::to_string(rank) + " and " +
                   std::to_string(b[1]) + ", but adapter_config.json says " +
                   std::to_string(scale.rank) + ": are the two files of one adapter?"};
    }
    RETURN_IF_ERROR(CheckAgainstBase(name, pair));
    // What the loader will do with this rank, and what it should do.
    const double factor = scale.factor * static_cast<double>(rank) / config_.file_alpha();
    SourceTensor left = Tensor(name + ".lora_a", pair.a->tensor);
    if (pair.embeds) Transpose(left);
    SourceTensor right = Tensor(name + ".lora_b", pair.b->tensor);
    if (std::abs(factor - 1) > 1e-9) Multiply(right, factor);
    RETURN_IF_ERROR(MoveRows(name, right));
    source_.tensors.push_back(std::move(left));
    source_.tensors.push_back(std::move(right));
    return {};
  }

 private:
  Result<std::string> NameOf(const std::string& module) const {
    const HuggingFaceShape& shape = base_.shape;
    const auto name = GgufName(module + ".weight", shape.architecture == "gemma3");
    const Error unknown{"the adapter changes '" + module + "', which is no matrix of this " +
                            shape.architecture + " model that can be adapted",
                        ErrorKind::kUnsupported};
    if (!name || name->find("norm.") != name->npos) return unknown;
    if (name->starts_with("blk.")) {
      const std::string layer = name->substr(4, name->find('.', 4) - 4);
      const bool is_number =
          !layer.empty() && layer.size() < 7 && layer.find_first_not_of("0123456789") == layer.npos;
      if (!is_number || std::stoll(layer) >= shape.layers) return unknown;
    }
    if (*name == "output.weight" && shape.tied) {
      return Error{
          "the adapter changes lm_head, but this base model's output is its embedding, "
          "of which there is one: merge the adapter into the model and convert that",
          ErrorKind::kUnsupported};
    }
    return *name;
  }

  Status CheckAgainstBase(const std::string& name, const FoundPair& pair) const {
    if (!base_.file) return {};
    const SourceTensor* w = base_.file->Find(name);
    if (w == nullptr) return Error{"the base model has no tensor '" + name + "'"};
    const int64_t columns = pair.embeds ? w->rows() : w->row_length();
    const int64_t rows = pair.embeds ? w->row_length() : w->rows();
    if (pair.a->tensor.shape[1] == columns && pair.b->tensor.shape[0] == rows) return {};
    return Error{"the pair for '" + name + "' is made for a matrix of " +
                 std::to_string(pair.b->tensor.shape[0]) + " x " +
                 std::to_string(pair.a->tensor.shape[1]) + ", but the base model's has " +
                 std::to_string(rows) + " x " + std::to_string(columns) +
                 ": is it an adapter for another model?"};
  }

  static SourceTensor Tensor(std::string name, const SafetensorsTensor& from) {
    SourceTensor t;
    t.name = std::move(name);
    t.type = from.type;
    t.shape.assign(from.shape.rbegin(), from.shape.rend());
    t.data = from.data;
    return t;
  }

  std::vector<float>& Floats(SourceTensor& t) {
    std::vector<float>& values = backing_.changed.emplace_back(static_cast<size_t>(t.elements()));
    t.Read(FitKernelsFor(Isa::kScalar), 0, t.rows(), values);
    return values;
  }
  void View(const std::vector<float>& values, SourceTensor& t) {
    t.type = DType::kF32;
    t.data = std::as_bytes(std::span(values));
  }

  void Multiply(SourceTensor& t, double factor) {
    std::vector<float>& values = Floats(t);
    for (float& v : values) v = static_cast<float>(v * factor);
    View(values, t);
  }

  void Transpose(SourceTensor& t) {
    const std::vector<float>& values = Floats(t);
    const auto rows = static_cast<size_t>(t.rows()), columns = static_cast<size_t>(t.row_length());
    std::vector<float>& turned = backing_.changed.emplace_back(values.size());
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < columns; ++c) turned[c * rows + r] = values[r * columns + c];
    }
    std::swap(t.shape[0], t.shape[1]);
    View(turned, t);
  }

  // B's rows are W's.
  Status MoveRows(const std::string& name, SourceTensor& b) const {
    const bool q = name.ends_with(".attn_q.weight"), k = name.ends_with(".attn_k.weight");
    const HuggingFaceShape& shape = base_.shape;
    if (shape.architecture != "llama" || (!q && !k)) return {};
    const int64_t heads = q ? shape.heads : shape.kv_heads;
    if (b.rows() != heads * shape.head_dim) {
      return Error{"the pair for '" + name + "' has " + std::to_string(b.rows()) +
                   " rows, but the base model's heads need " +
                   std::to_string(heads * shape.head_dim) +
                   ": is it an adapter for another model?"};
    }
    b.row_order = AdjacentPairs(heads, shape.head_dim);
    return {};
  }

  const PeftConfig& config_;
  const BaseModel& base_;
  PeftBacking& backing_;
  ModelSource& source_;
};

}  // namespace

Result<ModelSource> SourceFromPeftAdapter(const std::string& folder, const std::string& base) {
  const fs::path root(folder);
  ASSIGN_OR_RETURN(const PeftConfig config, PeftConfig::Read(root));
  const fs::path path = root / "adapter_model.safetensors";
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    return Error{path.string() + " is missing: save the adapter with safe_serialization=True",
                 ErrorKind::kNotFound};
  }
  ASSIGN_OR_RETURN(const BaseModel model, ReadBase(root, base, config));
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path.string()));
  const auto backing = std::make_shared<PeftBacking>(PeftBacking{std::move(file), {}});
  ASSIGN_OR_RETURN(const SafetensorsFile tensors,
                   ParseSafetensors(backing->file.bytes(), path.string()));
  ASSIGN_OR_RETURN(const auto pairs, FindPairs(tensors, path.string()));
  ModelSource source;
  source.name = folder;
  source.architecture = model.shape.architecture;
  source.layers = static_cast<int32_t>(model.shape.layers);
  PairWriter writer(config, model, *backing, source);
  for (const auto& [module, pair] : pairs) RETURN_IF_ERROR(writer.Add(module, pair));
  MetadataEntries out(source.metadata);
  const fs::path clean = root.has_filename() ? root : root.parent_path();
  out.AddString("general.architecture", source.architecture);
  out.AddString("general.type", "adapter");
  out.AddString("adapter.type", "lora");
  out.AddString("general.name", clean.filename().string());
  if (!config.base.empty()) {
    out.AddU32("general.base_model.count", 1);
    out.AddString("general.base_model.0.name", fs::path(config.base).filename().string());
  }
  out.AddF32("adapter.lora.alpha", config.file_alpha());
  source.backing = backing;
  return source;
}

}  // namespace millrace
