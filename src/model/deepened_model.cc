#include "model/deepened_model.h"

#include <algorithm>
#include <string>
#include <string_view>

namespace millrace {
namespace {

// Zeros in every type that a matrix can have: all scales are zero.
bool IsZeroed(std::string_view name) {
  return name.starts_with("attn_output.") || name.starts_with("ffn_down.");
}

void AddTensor(const GgufTensor& tensor, const std::string& name, bool zeroed, GgufWriter& writer) {
  if (!zeroed) return writer.AddTensor(name, tensor.type, tensor.shape, tensor.data);
  writer.AddTensor(name, tensor.type, tensor.shape, [](std::span<std::byte> out) -> Status {
    std::fill(out.begin(), out.end(), std::byte{0});
    return Status();
  });
}

}  // namespace

Status AddDeepenedModel(const GgufFile& file, int32_t times, GgufWriter& writer) {
  ASSIGN_OR_RETURN(const std::string_view architecture, file.RequireString("general.architecture"));
  const std::string count_key = std::string(architecture) + ".block_count";
  ASSIGN_OR_RETURN(const int64_t layers, file.RequireInt(count_key, 1, 1 << 16));
  if (times < 1 || layers * times > 1 << 16) {
    return Error{"a model of " + std::to_string(layers) + " layers cannot be made " +
                 std::to_string(times) + " times as deep: choose 1 to " +
                 std::to_string((1 << 16) / layers)};
  }
  for (const auto& [key, value] : file.metadata()) {
    if (key == count_key) {
      writer.AddU32(key, static_cast<uint32_t>(layers * times));
    } else {
      writer.AddRaw(key, file.RawValue(key));
    }
  }
  for (const GgufTensor& tensor : file.tensors())
    writer.AddTensor(tensor.name, tensor.type, tensor.shape, tensor.data);
  for (int64_t layer = layers; layer < layers * times; ++layer) {
    const std::string source = "blk." + std::to_string(layer % layers) + ".";
    const std::string added = "blk." + std::to_string(layer) + ".";
    for (const GgufTensor& tensor : file.tensors()) {
      if (!tensor.name.starts_with(source)) continue;
      const std::string_view rest = tensor.name.substr(source.size());
      AddTensor(tensor, added + std::string(rest), IsZeroed(rest), writer);
    }
  }
  return {};
}

}  // namespace millrace
