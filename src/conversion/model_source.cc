#include "conversion/model_source.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/float16.h"
#include "quantization/block_formats.h"

namespace millrace {

int64_t SourceTensor::rows() const {
  int64_t rows = 1;
  for (size_t i = 1; i < shape.size(); ++i) rows *= shape[i];
  return rows;
}

void SourceTensor::Read(const FitKernels& kernels, int64_t first, int64_t count,
                        std::span<float> out) const {
  const int64_t k = row_length();
  CHECK(static_cast<int64_t>(out.size()) == count * k);
  const auto row_bytes = static_cast<size_t>(RowBytes(type, k));
  for (int64_t r = 0; r < count; ++r) {
    const int64_t row = row_order.empty() ? first + r : row_order[static_cast<size_t>(first + r)];
    const auto bytes = data.subspan(static_cast<size_t>(row) * row_bytes, row_bytes);
    const auto to = out.subspan(static_cast<size_t>(r * k), static_cast<size_t>(k));
    if (type == DType::kF16) {
      kernels.halves_to_floats(reinterpret_cast<const uint16_t*>(bytes.data()), k, to.data());
    } else if (type == DType::kF32) {
      std::memcpy(to.data(), bytes.data(), bytes.size());
    } else if (type == DType::kBF16) {
      for (size_t i = 0; i < to.size(); ++i) {
        uint16_t half;
        std::memcpy(&half, bytes.data() + 2 * i, 2);
        to[i] = Bf16ToF32(half);
      }
    } else {
      DequantizeBlocks(type, bytes, to);
    }
    if (added == 0) continue;
    for (float& v : to) v += added;
  }
}

const SourceTensor* ModelSource::Find(std::string_view wanted) const {
  for (const SourceTensor& t : tensors) {
    if (t.name == wanted) return &t;
  }
  return nullptr;
}

Result<ModelSource> SourceFromGguf(std::shared_ptr<const MappedGguf> file) {
  const GgufFile& gguf = file->file();
  ModelSource source;
  source.name = gguf.name();
  ASSIGN_OR_RETURN(const std::string_view architecture, gguf.RequireString("general.architecture"));
  source.architecture = architecture;
  const std::string prefix = source.architecture + ".";
  ASSIGN_OR_RETURN(const auto layers, gguf.FindInt(prefix + "block_count", 1, 1 << 16));
  ASSIGN_OR_RETURN(const auto heads, gguf.FindInt(prefix + "attention.head_count", 1, 1 << 16));
  ASSIGN_OR_RETURN(const auto kv, gguf.FindInt(prefix + "attention.head_count_kv", 1, 1 << 16));
  source.layers = static_cast<int32_t>(layers.value_or(0));
  source.heads = static_cast<int32_t>(heads.value_or(1));
  source.kv_heads = static_cast<int32_t>(kv.value_or(source.heads));
  for (const auto& [key, value] : gguf.metadata()) {
    const auto raw = gguf.RawValue(key);
    source.metadata.push_back({std::string(key), {raw.begin(), raw.end()}});
  }
  for (const GgufTensor& t : gguf.tensors()) {
    SourceTensor tensor;
    tensor.name = t.name;
    tensor.type = t.type;
    tensor.shape = t.shape;
    tensor.data = t.data;
    source.tensors.push_back(std::move(tensor));
  }
  if (source.tensors.empty()) return Error{source.name + " holds no tensors: it is no model"};
  source.release = [file](std::span<const std::byte> part) { file->Release(part); };
  source.backing = file;
  return source;
}

}  // namespace millrace
