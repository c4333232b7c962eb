// Tiny random encoders made in memory, and what they compute in double precision, written without
// the model's code: for tests of vectors and scores.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "gguf/gguf.h"

namespace millrace {

struct TinyEncoderSpec {
  std::string architecture = "bert";  // or nomic-bert
  DType type = DType::kF32;           // of the matrices
  int32_t layers = 2;
  int32_t width = 64;
  int32_t ff_width = 96;
  int32_t heads = 4;
  int32_t context_length = 128;
  int32_t token_types = 2;
  int32_t pooling = 1;      // GGUF's number: 1 mean, 2 cls, 3 last, 4 rank
  bool classifier = false;  // a cross-encoder's head: cls and cls.output
  uint64_t seed = 1;
};

// A GGUF file. The tokenizer is WordPiece: [PAD] [UNK] [CLS] [SEP] are 0 to 3, then the letters a
// to z as the beginning of a word (4 to 29) and within one (30 to 55), then "." and ",".
std::vector<std::byte> MakeTinyEncoder(const TinyEncoderSpec& spec);

// The hidden state [tokens][width] of one text, in double; tokens from `second_text` on are of type
// 1.
std::vector<std::vector<double>> ReferenceHidden(const GgufFile& file, const TinyEncoderSpec& spec,
                                                 const std::vector<int32_t>& tokens,
                                                 size_t second_text = SIZE_MAX);
// The classifier's head on the first row: W2 tanh(W1 x + b1) + b2.
double ReferenceScore(const GgufFile& file, const std::vector<std::vector<double>>& hidden);

}  // namespace millrace
