#include "model/lora_adapter.h"

#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quantization/block_formats.h"

namespace millrace {
namespace {

constexpr std::string_view kA = ".lora_a", kB = ".lora_b";
constexpr std::string_view kEmbedding = "token_embd.weight";

Error AdapterError(const GgufFile& file, const std::string& problem,
                   ErrorKind kind = ErrorKind::kInvalidArgument) {
  return Error{file.name() + ": " + problem, kind};
}

// The file's alpha, 0 where it has none.
Result<float> ReadAlpha(const GgufFile& file, const TransformerConfig& config) {
  ASSIGN_OR_RETURN(const auto type, file.FindString("general.type"));
  if (type.value_or("") != "adapter") {
    return AdapterError(file,
                        "'general.type' is not 'adapter': give a LoRA adapter in GGUF, as "
                        "llama.cpp's convert_lora_to_gguf.py writes it");
  }
  ASSIGN_OR_RETURN(const std::string_view kind, file.RequireString("adapter.type"));
  if (kind != "lora") {
    return AdapterError(
        file, "an adapter of type '" + std::string(kind) + "' is not supported; known is lora",
        ErrorKind::kUnsupported);
  }
  ASSIGN_OR_RETURN(const std::string_view architecture, file.RequireString("general.architecture"));
  if (architecture != config.architecture) {
    return AdapterError(file, "the adapter is for a model of architecture '" +
                                  std::string(architecture) + "', but the base model is '" +
                                  config.architecture + "'");
  }
  if (file.Find("adapter.alora.invocation_tokens") != nullptr) {
    return AdapterError(
        file, "adapters that tokens activate ('adapter.alora.invocation_tokens') are not supported",
        ErrorKind::kUnsupported);
  }
  ASSIGN_OR_RETURN(const auto alpha, file.FindFloat("adapter.lora.alpha"));
  return static_cast<float>(alpha.value_or(0.0));
}

// Two dimensions; a matrix of one row may be written as a vector.
struct Dimensions {
  int64_t columns = 0, rows = 0;
};
Result<Dimensions> DimensionsOf(const GgufFile& file, const GgufTensor& tensor) {
  for (size_t i = 2; i < tensor.shape.size(); ++i) {
    if (tensor.shape[i] != 1)
      return AdapterError(file, "tensor '" + std::string(tensor.name) + "' is no matrix");
  }
  return Dimensions{tensor.shape[0], tensor.shape.size() > 1 ? tensor.shape[1] : 1};
}

Result<WeightMatrix> Packed(const GgufFile& file, const GgufTensor& tensor, Dimensions size,
                            ThreadPool& pool) {
  const bool is_float =
      tensor.type == DType::kF32 || tensor.type == DType::kF16 || tensor.type == DType::kBF16;
  if (is_float) return WeightMatrix::Pack(tensor.type, size.rows, size.columns, tensor.data, pool);
  if (!CanDequantize(tensor.type)) {
    return AdapterError(file,
                        "tensor '" + std::string(tensor.name) + "' has type " +
                            std::string(NameOf(tensor.type)) +
                            ", which is not supported; write the adapter in F16",
                        ErrorKind::kUnsupported);
  }
  std::vector<float> values(static_cast<size_t>(size.rows * size.columns));
  DequantizeBlocks(tensor.type, tensor.data, values);
  return WeightMatrix::Pack(DType::kF32, size.rows, size.columns, std::as_bytes(std::span(values)),
                            pool);
}

// For a matrix of `rows` x `columns`, or for its embedding of that size: there A is the file's
// matrix transposed, so that a token has a row (llama.cpp's convention).
Result<LoraPair> LoadPair(const GgufFile& file, const std::string& name, const WeightMatrix& w,
                          ThreadPool& pool) {
  const GgufTensor* a = file.FindTensor(name + std::string(kA));
  const GgufTensor* b = file.FindTensor(name + std::string(kB));
  if (a == nullptr || b == nullptr) {
    return AdapterError(file, "'" + name + "' has a tensor '" +
                                  std::string(a != nullptr ? kA : kB).substr(1) + "' but no '" +
                                  std::string(a != nullptr ? kB : kA).substr(1) +
                                  "': an adapter has both");
  }
  ASSIGN_OR_RETURN(const Dimensions a_size, DimensionsOf(file, *a));
  ASSIGN_OR_RETURN(const Dimensions b_size, DimensionsOf(file, *b));
  const bool embeds = name == kEmbedding;
  const int64_t rank = b_size.columns;
  const Dimensions a_expected = embeds ? Dimensions{rank, w.rows()} : Dimensions{w.columns(), rank};
  const int64_t b_rows = embeds ? w.columns() : w.rows();
  if (a_size.columns != a_expected.columns || a_size.rows != a_expected.rows ||
      b_size.rows != b_rows) {
    const auto text = [](Dimensions d) {
      return "[" + std::to_string(d.columns) + " x " + std::to_string(d.rows) + "]";
    };
    return AdapterError(file, "the pair for '" + name + "' has shapes " + text(a_size) + " and " +
                                  text(b_size) + ", but with rank " + std::to_string(rank) +
                                  " the base model's matrix needs " + text(a_expected) + " and " +
                                  text({rank, b_rows}) + ": is it an adapter for another model?");
  }
  LoraPair pair;
  ASSIGN_OR_RETURN(pair.a, Packed(file, *a, a_size, pool));
  ASSIGN_OR_RETURN(pair.b, Packed(file, *b, b_size, pool));
  return pair;
}

}  // namespace

Result<LoraAdapter> LoraAdapter::Load(const GgufFile& file, float scale,
                                      const TransformerConfig& config,
                                      const TransformerWeights& weights, ThreadPool& pool) {
  ASSIGN_OR_RETURN(const float alpha, ReadAlpha(file, config));
  if (!std::isfinite(scale)) return AdapterError(file, "the adapter's scale is not a number");
  LoraAdapter adapter;
  for (const GgufTensor& tensor : file.tensors()) {
    const bool is_a = tensor.name.ends_with(kA), is_b = tensor.name.ends_with(kB);
    if (!is_a && !is_b) {
      return AdapterError(file,
                          "tensor '" + std::string(tensor.name) +
                              "' is no half of a LoRA pair (NAME.lora_a, NAME.lora_b); nothing "
                              "else can be adapted",
                          ErrorKind::kUnsupported);
    }
    const std::string name(tensor.name.substr(0, tensor.name.size() - kA.size()));
    const WeightMatrix* w = weights.Find(name);
    if (w == nullptr) {
      return AdapterError(file, "tensor '" + std::string(tensor.name) + "' adapts '" + name +
                                    "', which is no matrix of the base model");
    }
    // A pair is loaded at its A; a B without one finds that it is alone.
    if (is_b && file.FindTensor(name + std::string(kA)) != nullptr) continue;
    ASSIGN_OR_RETURN(LoraPair pair, LoadPair(file, name, *w, pool));
    pair.factor = alpha != 0.0f ? scale * alpha / static_cast<float>(pair.rank()) : scale;
    if (!std::isfinite(pair.factor))
      return AdapterError(file, "alpha and scale give a factor that is not a number");
    adapter.bytes_ += static_cast<int64_t>(pair.a.bytes() + pair.b.bytes());
    adapter.rank_ = std::max(adapter.rank_, pair.rank());
    if (name == kEmbedding) {
      adapter.embedding_ = std::move(pair);
    } else {
      adapter.pairs_.emplace(w, std::move(pair));
    }
  }
  if (adapter.rank_ == 0) return AdapterError(file, "the adapter holds no tensors");
  return adapter;
}

const LoraPair* LoraAdapter::Find(const WeightMatrix& w) const {
  const auto at = pairs_.find(&w);
  return at == pairs_.end() ? nullptr : &at->second;
}

}  // namespace millrace
