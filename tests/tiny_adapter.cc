#include "tests/tiny_adapter.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <span>

#include "base/check.h"
#include "base/rng.h"
#include "gguf/writer.h"
#include "quantization/block_formats.h"
#include "quantization/quantize.h"

namespace millrace {
namespace {

bool IsAdapted(const GgufTensor& tensor, const TinyAdapterSpec& spec) {
  const std::string name(tensor.name);
  if (tensor.shape.size() != 2) return false;
  if (spec.only.empty()) return name.starts_with("blk.");
  return std::any_of(spec.only.begin(), spec.only.end(), [&name](const std::string& part) {
    return name.find(part) != std::string::npos;
  });
}

std::vector<std::byte> RandomMatrix(const TinyAdapterSpec& spec, uint64_t stream, int64_t rows,
                                    int64_t columns) {
  CounterRng rng(spec.seed, stream);
  std::vector<float> values(static_cast<size_t>(columns));
  const auto row_bytes = static_cast<size_t>(RowBytes(spec.type, columns));
  std::vector<std::byte> bytes(row_bytes * static_cast<size_t>(rows));
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    for (float& v : values) v = static_cast<float>(spec.spread * (2 * rng.NextDouble() - 1));
    QuantizeRow(spec.type, values, std::span(bytes).subspan(r * row_bytes, row_bytes));
  }
  return bytes;
}

std::vector<float> Floats(const GgufTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  DequantizeBlocks(tensor.type, tensor.data, values);
  return values;
}

// W [rows, columns] += factor * B A; of the embedding, A [rows, r] is a row per token and B
// [columns, r].
std::vector<float> Merged(const GgufTensor& w, const GgufTensor& a, const GgufTensor& b,
                          double factor) {
  const bool embeds = w.name == "token_embd.weight";
  const std::vector<float> av = Floats(a), bv = Floats(b);
  std::vector<float> values = Floats(w);
  const auto columns = static_cast<size_t>(w.row_length());
  const auto rank = static_cast<size_t>(b.row_length());
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t row = i / columns, column = i % columns;
    double sum = 0;
    for (size_t r = 0; r < rank; ++r) {
      sum += embeds ? static_cast<double>(av[row * rank + r]) * bv[column * rank + r]
                    : static_cast<double>(bv[row * rank + r]) * av[r * columns + column];
    }
    values[i] = static_cast<float>(values[i] + factor * sum);
  }
  return values;
}

}  // namespace

std::vector<std::byte> MakeTinyAdapter(const GgufFile& model, const TinyAdapterSpec& spec) {
  GgufWriter writer;
  std::deque<std::vector<std::byte>> storage;
  writer.AddString("general.type", "adapter");
  writer.AddString("general.architecture", *model.RequireString("general.architecture"));
  writer.AddString("general.name", "tiny-adapter");
  writer.AddString("adapter.type", "lora");
  if (spec.alpha != 0) writer.AddF32("adapter.lora.alpha", spec.alpha);
  uint64_t stream = 0;
  const auto add = [&](const std::string& name, int64_t rows, int64_t columns) {
    storage.push_back(RandomMatrix(spec, stream++, rows, columns));
    const int64_t shape[] = {columns, rows};
    writer.AddTensor(name, spec.type, shape, storage.back());
  };
  for (const GgufTensor& tensor : model.tensors()) {
    if (!IsAdapted(tensor, spec)) continue;
    const std::string name(tensor.name);
    if (name == "token_embd.weight") {
      add(name + ".lora_a", tensor.rows(), spec.rank);
      add(name + ".lora_b", tensor.row_length(), spec.rank);
    } else {
      add(name + ".lora_a", spec.rank, tensor.row_length());
      add(name + ".lora_b", tensor.rows(), spec.rank);
    }
  }
  CHECK(stream > 0);
  return writer.Serialize();
}

std::vector<std::byte> MergeAdapter(const GgufFile& model, const GgufFile& adapter, double scale) {
  GgufWriter writer;
  std::deque<std::vector<float>> storage;
  for (const auto& [key, value] : model.metadata()) writer.AddRaw(key, model.RawValue(key));
  const auto alpha = adapter.FindFloat("adapter.lora.alpha");
  for (const GgufTensor& tensor : model.tensors()) {
    const GgufTensor* a = adapter.FindTensor(std::string(tensor.name) + ".lora_a");
    const GgufTensor* b = adapter.FindTensor(std::string(tensor.name) + ".lora_b");
    if (a == nullptr) {
      writer.AddTensor(tensor.name, tensor.type, tensor.shape, tensor.data);
      continue;
    }
    CHECK(tensor.type == DType::kF32 && b != nullptr && alpha.ok());
    const double factor = *alpha ? scale * **alpha / static_cast<double>(b->row_length()) : scale;
    storage.push_back(Merged(tensor, *a, *b, factor));
    writer.AddTensor(tensor.name, DType::kF32, tensor.shape,
                     std::as_bytes(std::span(storage.back())));
  }
  return writer.Serialize();
}

}  // namespace millrace
