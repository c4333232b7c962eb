// safetensors: bytes -> checked views of tensors (format:
// huggingface.co/docs/safetensors: eight bytes of length, a JSON header, the data).
//
// Invariant: every view lies inside the bytes it was parsed from and has exactly the size that its
// shape and type give. A damaged file gives one sentence that names it and the tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"

namespace millrace {

struct SafetensorsTensor {
  DType type = DType::kF32;    // F32, F16 or BF16
  std::vector<int64_t> shape;  // as in the file: the last is the contiguous dimension
  std::span<const std::byte> data;
};

using SafetensorsFile = std::map<std::string, SafetensorsTensor, std::less<>>;

// `bytes` must outlive the views; `name` stands in messages.
Result<SafetensorsFile> ParseSafetensors(std::span<const std::byte> bytes, const std::string& name);

}  // namespace millrace
