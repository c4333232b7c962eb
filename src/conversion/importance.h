// ImportanceMatrix: how much each input column of each weight matrix matters, as the mean square of
// the activations that it is multiplied with; and the two file forms that llama.cpp writes and
// reads (GGUF, and the older .dat).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/matrix.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "model/transformer.h"

namespace millrace {

struct ImportanceEntry {
  std::vector<float> mean_squares;  // one per column
  int64_t rows = 0;                 // activations that were seen; 0: unknown
};

struct ImportanceMatrix {
  std::map<std::string, ImportanceEntry, std::less<>> tensors;
  std::vector<std::string> datasets;
  int32_t chunk_rows = 512;  // what the files call a chunk

  // Empty where there is none for the tensor.
  std::span<const float> Find(std::string_view tensor) const;
};

enum class ImportanceForm { kGguf, kDat };

// Either form, by its first bytes. A damaged file gives one sentence that names it.
Result<ImportanceMatrix> ReadImportance(const std::string& path);
Result<ImportanceMatrix> ParseImportance(std::span<const std::byte> bytes, const std::string& name);
// Atomic (base/atomic_file.h).
Status WriteImportance(const ImportanceMatrix& matrix, ImportanceForm form,
                       const std::string& path);

// Sums the squares of what a Transformer multiplies; its Observe goes to Transformer::SetObserver.
// Sums are of doubles in the order of the rows, so they do not depend on threads.
class ImportanceCollector {
 public:
  // `tied`: the output matrix is token_embd.weight.
  ImportanceCollector(bool tied, ThreadPool& pool) : tied_(tied), pool_(pool) {}
  void Observe(ProductInput input, int32_t layer, MatrixView<const float> activations);
  ImportanceMatrix Finish(std::string dataset) const;

 private:
  struct Sums {
    std::vector<double> squares;
    int64_t rows = 0;
  };
  bool tied_;
  ThreadPool& pool_;
  std::map<std::pair<ProductInput, int32_t>, Sums> sums_;
};

}  // namespace millrace
