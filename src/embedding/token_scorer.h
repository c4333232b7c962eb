// TokenScorer: how surprised a decoder is by each token of a text, for the pruning of prompts
// (prompt_reduction/token_pruning.h): a small model beside the one that answers.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "model/transformer.h"
#include "nn_ops/nn_ops.h"
#include "paged_kv/kv_store.h"
#include "simd/isa.h"

namespace millrace {

class GgufFile;

class TokenScorer {
 public:
  static constexpr int32_t kWindow = 512;  // the longest text, in tokens

  // A decoder. `pool` must outlive it; the file need not, except as WeightOptions says.
  static Result<std::unique_ptr<TokenScorer>> Load(const GgufFile& file, Isa isa,
                                                   const WeightOptions& weights, ThreadPool& pool);

  // -ln of the probability of each token but the first behind those before it: tokens.size() - 1
  // numbers. 1 to kWindow tokens; a token outside the vocabulary is an error. Any thread; one call
  // at a time computes.
  Result<std::vector<float>> Surprises(std::span<const TokenId> tokens);

 private:
  TokenScorer(std::unique_ptr<Transformer> model, KvStore kv, Isa isa)
      : model_(std::move(model)), kv_(std::move(kv)), nn_(NnKernelsFor(isa)) {}

  std::mutex mutex_;
  const std::unique_ptr<Transformer> model_;
  KvStore kv_;
  const NnKernels& nn_;
};

}  // namespace millrace
