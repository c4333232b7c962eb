// From the rows of a text's hidden state to its vector or score. Sums run in double, over the rows
// or columns in order, so the result has one value.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/matrix.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "gguf/gguf.h"
#include "model/pooling.h"
#include "model/transformer_weights.h"

namespace millrace::embedding_internal {

// out [E] = the mean, the first or the last of the rows [>= 1, E]; kRank: the first, as encoders
// have it; a decoder gives its last row alone.
void PoolRows(Pooling pooling, MatrixView<const float> rows, std::span<float> out);

// x / |x|; zeros stay zeros.
void Normalise(std::span<float> x);

// A cross-encoder's classifier: w2 tanh(W1 x + b1) + b2 (BERT's pooler and classification layer).
class RankHead {
 public:
  // cls.weight [E, E] and cls.bias [E], which may both be missing (then x itself goes on), and
  // cls.output.weight [1, E] and cls.output.bias [1]. A head of several outputs is an error.
  static Result<RankHead> Load(const GgufFile& file, int32_t width, ThreadPool& pool);
  // A decoder's: cls.output.weight [2, E], of which the rows are those of the output matrix for the
  // tokens "yes" and "no" (Qwen3-Reranker, Zhang et al. 2025). The score is the difference of their
  // logits, so that its logistic function is the share of "yes" among the two. The labels, where
  // the file has some (ARCHITECTURE.classifier.output_labels), must be these, in either order.
  static Result<RankHead> LoadYesNo(const GgufFile& file, std::string_view architecture,
                                    int32_t width, ThreadPool& pool);
  float Score(std::span<const float> x) const;

 private:
  std::vector<float> pooler_;       // [E, E], or empty
  std::vector<float> pooler_bias_;  // [E], or empty
  std::vector<float> weight_;       // [E]
  float bias_ = 0.0f;
};

}  // namespace millrace::embedding_internal
