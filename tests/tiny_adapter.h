// Random LoRA adapters made in memory for a model, as llama.cpp's converter writes them, and the
// model that has them merged into its weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "gguf/gguf.h"

namespace millrace {

struct TinyAdapterSpec {
  int32_t rank = 4;
  float alpha = 8.0f;  // 0: the file has none
  DType type = DType::kF32;
  double spread = 0.1;  // of the values, uniform around 0
  uint64_t seed = 1;
  // Parts of the names of the matrices that are adapted; empty: all linear layers.
  std::vector<std::string> only = {};
};

// A GGUF adapter for `model`, whose linear layers it adapts (and its embedding and output matrix
// where `only` names them).
std::vector<std::byte> MakeTinyAdapter(const GgufFile& model, const TinyAdapterSpec& spec);

// `model` (F32 matrices) with W + scale * alpha / rank * B A in place of each adapted W: computed
// in double precision, rounded to F32 once. Knows nothing of the code that runs adapters.
std::vector<std::byte> MergeAdapter(const GgufFile& model, const GgufFile& adapter, double scale);

}  // namespace millrace
