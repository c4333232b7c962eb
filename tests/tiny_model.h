// Tiny random models made in memory, for tests that need weights of a given type or a model file
// without a download.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace millrace {

struct TinyModelSpec {
  std::string architecture = "llama";  // llama, qwen2, qwen3, gemma3
  DType type = DType::kF32;  // of the matrices; random blocks where there is no quantiser for it
  int32_t layers = 2;
  int32_t width = 256;     // a multiple of 256 for the k-quants
  int32_t ff_width = 512;  // likewise
  int32_t heads = 4;
  int32_t kv_heads = 2;
  int32_t head_dim = 64;
  int32_t context_length = 2048;
  bool tied = true;
  uint64_t seed = 1;
};

// A GGUF file. The tokenizer is byte-level BPE: tokens 0..255 are the bytes, then <|endoftext|>,
// <|im_start|> and
// <|im_end|> (end of generation); the template is ChatML.
std::vector<std::byte> MakeTinyModel(const TinyModelSpec& spec);

}  // namespace millrace
