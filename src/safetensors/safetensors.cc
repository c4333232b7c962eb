#include "safetensors/safetensors.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace millrace {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMostHeaderBytes = 100'000'000;  // the format's own limit

std::optional<DType> TypeOf(const Json& name) {
  if (name == "F32") return DType::kF32;
  if (name == "F16") return DType::kF16;
  if (name == "BF16") return DType::kBF16;
  return std::nullopt;
}

Result<SafetensorsTensor> ParseTensor(const Json& entry, std::span<const std::byte> data) {
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets")) {
    return Error{"dtype, shape or data_offsets is missing"};
  }
  SafetensorsTensor tensor;
  const auto type = TypeOf(entry["dtype"]);
  if (!type) {
    return Error{"the type " + entry["dtype"].dump() + " is not supported: use F32, F16 or BF16",
                 ErrorKind::kUnsupported};
  }
  tensor.type = *type;
  if (!entry["shape"].is_array() || entry["shape"].size() > 4)
    return Error{"the shape is no list of at most four numbers"};
  uint64_t elements = 1;
  for (const Json& size : entry["shape"]) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() == 0 ||
        size.get<uint64_t>() > (uint64_t{1} << 40) ||
        __builtin_mul_overflow(elements, size.get<uint64_t>(), &elements)) {
      return Error{"the shape " + entry["shape"].dump() + " is impossible"};
    }
    tensor.shape.push_back(size.get<int64_t>());
  }
  const Json& offsets = entry["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    return Error{"data_offsets is no pair of numbers"};
  }
  const auto begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
  uint64_t bytes = 0;
  const auto element = static_cast<uint64_t>(InfoOf(tensor.type).block_bytes);
  if (begin > end || end > data.size() || __builtin_mul_overflow(elements, element, &bytes) ||
      end - begin != bytes) {
    return Error{"data_offsets " + offsets.dump() +
                 " do not lie in the file or do not fit the shape: the file is damaged or cut off"};
  }
  tensor.data = data.subspan(begin, bytes);
  return tensor;
}

}  // namespace

Result<SafetensorsFile> ParseSafetensors(std::span<const std::byte> bytes,
                                         const std::string& name) {
  uint64_t header_bytes = 0;
  if (bytes.size() < sizeof(header_bytes))
    return Error{name + " is too short to be a safetensors file"};
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  if (header_bytes > kMostHeaderBytes || header_bytes > bytes.size() - sizeof(header_bytes)) {
    return Error{name + ": a header of " + std::to_string(header_bytes) +
                 " bytes cannot be: it is no safetensors file, or cut off"};
  }
  const char* const text = reinterpret_cast<const char*>(bytes.data()) + sizeof(header_bytes);
  const Json header = Json::parse(text, text + header_bytes, nullptr, false);
  if (!header.is_object())
    return Error{name + ": the header is no JSON object: the file is damaged"};
  const auto data = bytes.subspan(sizeof(header_bytes) + header_bytes);
  SafetensorsFile tensors;
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") continue;
    auto tensor = ParseTensor(entry, data);
    if (!tensor.ok()) {
      return Error{name + ": tensor '" + key + "': " + tensor.error().message, tensor.error().kind};
    }
    tensors[key] = std::move(*tensor);
  }
  return tensors;
}

}  // namespace millrace
