// Writes a model in other types: the pipeline behind `millrace quantize`.
//
// Invariant: the output appears whole or not at all (base/atomic_file.h); its bytes depend on the
// source, the types and the importance only, not on threads or instruction set. Memory: the
// converted bytes of the largest tensor, and a slab of rows per thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "conversion/importance.h"
#include "conversion/model_source.h"
#include "quantization/fit_kernels.h"

namespace millrace {

struct ConversionPlan {
  std::vector<DType> types;                      // of each tensor of the source, in order
  const ImportanceMatrix* importance = nullptr;  // or none
  std::optional<uint32_t> file_type;             // general.file_type; none: it is left out
};

// Called before each tensor and once at the end.
struct ConversionProgress {
  size_t tensors_done = 0;
  size_t tensors = 0;
  int64_t bytes_done = 0;  // of the output's tensors
  int64_t bytes = 0;
};
using OnConversionProgress = std::function<void(const ConversionProgress&)>;

// Bytes of the tensor's data once converted.
int64_t ConvertedBytes(const SourceTensor& tensor, DType type);

// The tensor's bytes in `type`. `out` has ConvertedBytes; `importance` is empty or a row long.
void ConvertTensor(const SourceTensor& tensor, DType type, std::span<const float> importance,
                   const FitKernels& kernels, ThreadPool& pool, std::span<std::byte> out);

// Errors: a type that does not fit, importance of another model, values that are not finite, and
// whatever the file system says.
Status WriteConverted(const ModelSource& source, const ConversionPlan& plan,
                      const FitKernels& kernels, ThreadPool& pool, const std::string& path,
                      const OnConversionProgress& progress = {});

}  // namespace millrace
