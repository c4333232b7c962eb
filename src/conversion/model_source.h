// ModelSource: a model to be converted, whatever it is stored as: GGUF metadata, and tensors whose
// rows can be read as floats.
//
// Invariant: tensors have GGUF's names, order of dimensions and row order; the bytes that a source
// views live as long as it does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"
#include "gguf/gguf.h"
#include "quantization/fit_kernels.h"

namespace millrace {

struct SourceTensor {
  std::string name;
  DType type = DType::kF32;
  std::vector<int64_t> shape;  // shape[0] is a row's length
  std::span<const std::byte> data;
  std::vector<int32_t> row_order;  // row r is row row_order[r] of the data; empty: the same
  float added = 0;                 // to every element: norms that are stored less one

  int64_t row_length() const { return shape[0]; }
  int64_t rows() const;
  int64_t elements() const { return row_length() * rows(); }
  // Whether the data are the tensor's bytes as they stand.
  bool plain() const { return row_order.empty() && added == 0; }
  // Rows first..first+count as floats; out has count * row_length() elements.
  void Read(const FitKernels& kernels, int64_t first, int64_t count, std::span<float> out) const;
};

struct ModelSource {
  std::string name;  // for messages
  std::string architecture;
  int32_t layers = 0;
  int32_t heads = 1;
  int32_t kv_heads = 1;
  struct Entry {
    std::string key;
    std::vector<std::byte> kind_and_value;  // as GgufWriter::AddRaw takes it
  };
  std::vector<Entry> metadata;
  std::vector<SourceTensor> tensors;
  // Says that a tensor's data were read and are not needed soon; may be empty.
  std::function<void(std::span<const std::byte>)> release;
  std::shared_ptr<const void> backing;  // what the spans view

  const SourceTensor* Find(std::string_view name) const;
  bool tied() const { return Find("output.weight") == nullptr; }
};

// A GGUF file. Errors: one without an architecture, or with a tensor of a type that cannot be
// decoded.
Result<ModelSource> SourceFromGguf(std::shared_ptr<const MappedGguf> file);

}  // namespace millrace
