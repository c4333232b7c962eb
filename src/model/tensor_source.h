// TensorSource: the tensors of one file by name, checked against the shape that is wanted, as
// matrices for the kernels or as vectors of floats. A missing tensor, a wrong shape or an
// unsupported type is named in one sentence.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "gguf/gguf.h"
#include "model/transformer_config.h"
#include "model/transformer_weights.h"
#include "quantization/weight_matrix.h"

namespace millrace {

class WeightCache;

class TensorSource {
 public:
  // All must outlive the source; `cache` may be null.
  TensorSource(const GgufFile& file, ThreadPool& pool, const WeightOptions& options,
               const WeightCache* cache)
      : file_(file), pool_(pool), options_(options), cache_(cache) {}

  bool Has(const std::string& name) const { return file_.FindTensor(name) != nullptr; }
  // In the storage that the options ask for.
  Result<WeightMatrix> Matrix(const std::string& name, int64_t rows, int64_t columns) const;
  // A vector of floats, kept in F32, F16 or BF16.
  Result<std::vector<float>> Vector(const std::string& name, int64_t count) const;
  // Empty where the architecture has none or the file lacks an optional one.
  Result<std::vector<float>> Vector(Presence presence, const std::string& name,
                                    int64_t count) const;

 private:
  Result<const GgufTensor*> Find(const std::string& name, const std::vector<int64_t>& shape) const;
  Result<WeightMatrix> MatrixOf(const GgufTensor& tensor, int64_t rows, int64_t columns) const;

  const GgufFile& file_;
  ThreadPool& pool_;
  const WeightOptions& options_;
  const WeightCache* cache_;
};

}  // namespace millrace
