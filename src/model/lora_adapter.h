// LoraAdapter: what a LoRA adapter (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language
// Models", section 4.1) adds to a model: for some of its matrices W a pair A [r, K], B [N, r] and a
// factor s, so that W x becomes W x + s B (A x). Read from llama.cpp's GGUF adapters and checked
// against the model that they were made for.
//
// Invariant: every pair fits the matrix that it is found by; the adapter holds no view of the file.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/result.h"
#include "base/thread_pool.h"
#include "gguf/gguf.h"
#include "model/transformer_config.h"
#include "model/transformer_weights.h"
#include "quantization/weight_matrix.h"

namespace millrace {

struct LoraPair {
  WeightMatrix a;  // [r, K]; of the embedding [V, r]: a row is a token's
  WeightMatrix b;  // [N, r]; of the embedding [E, r]
  float factor = 1.0f;
  int64_t rank() const { return b.columns(); }
};

class LoraAdapter {
 public:
  // Keys of the file: general.type = "adapter", adapter.type = "lora", general.architecture (that
  // of `config`) and adapter.lora.alpha; the tensors are NAME.lora_a and NAME.lora_b, where NAME is
  // a matrix of the model. The factor of a pair of rank r is scale * alpha / r, or `scale` where
  // alpha is 0 or missing (llama.cpp's rule). Float types stay as they are in the file; quantised
  // ones are turned into F32. Errors, in one sentence: another kind of file, another architecture,
  // an activated adapter (aLoRA), half a pair, a tensor that is no part of a pair or of no matrix
  // of the model, shapes that do not fit, a type that cannot be read, a `scale` that is no number.
  // `weights` must stay where they are as long as the adapter is used; the file need not.
  static Result<LoraAdapter> Load(const GgufFile& file, float scale,
                                  const TransformerConfig& config,
                                  const TransformerWeights& weights, ThreadPool& pool);

  // What is added to products with `w`, a matrix of the model; null: nothing.
  const LoraPair* Find(const WeightMatrix& w) const;
  // What is added to a token's embedding: factor * B a, where a is the token's row of A. Changes
  // the embedding alone, also where it is the output matrix, too.
  const std::optional<LoraPair>& embedding() const { return embedding_; }

  int64_t bytes() const { return bytes_; }  // in memory
  int64_t rank() const { return rank_; }    // the largest of its pairs

 private:
  std::unordered_map<const WeightMatrix*, LoraPair> pairs_;
  std::optional<LoraPair> embedding_;
  int64_t bytes_ = 0;
  int64_t rank_ = 0;
};

}  // namespace millrace
