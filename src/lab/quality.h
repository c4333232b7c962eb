// Quality: how well a model predicts documents, and how far its predictions are from another
// model's. Works over the Model seam, in chunks and batches.
//
// Invariant: a token's score depends only on its document (Model's invariant), not on how documents
// are cut and batched.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "lab/statistics.h"
#include "model/model.h"
#include "simd/isa.h"

namespace millrace {

struct Document {
  std::vector<TokenId> tokens;
  int32_t first_scored = 1;  // tokens[first_scored..] are scored; at least 1
  int32_t cluster = 0;       // documents that depend on each other share one
};

// Cuts a long text into windows of `window` tokens, each begun with `bos` where given, of which the
// second half is scored. A window is a cluster of its own.
std::vector<Document> CutIntoWindows(std::span<const TokenId> tokens, int32_t window,
                                     const std::vector<TokenId>& bos);

struct TokenScore {
  float loss = 0;        // -ln p of the token that came
  float divergence = 0;  // KL from the reference, in nats; 0 without one
  float reference_loss = 0;
  bool same_top = true;  // the same most likely token as the reference's
  int32_t cluster = 0;
};

struct ScoreOptions {
  KvType kv_type = KvType::kBf16;
  std::optional<KvType> reference_kv_type;   // of the reference; kv_type where not given
  Isa isa = Isa::kScalar;                    // of the scores' own kernels
  int32_t step_rows = 512;                   // tokens per Forward
  int64_t logit_bytes = int64_t{160} << 20;  // of logits per Forward
};

using ScoreProgress = std::function<void(int64_t tokens_done, int64_t tokens_total)>;

// Scores of all scored tokens, in order. `reference` may be null, but not `model` itself, whose
// logits its own next step would overwrite. Errors: an empty document, models
// of different vocabularies, memory for keys and values that cannot be had.
Result<std::vector<TokenScore>> ScoreDocuments(Model& model, Model* reference,
                                               std::span<const Document> documents,
                                               const ScoreOptions& options, ThreadPool& pool,
                                               const ScoreProgress& progress = {});

struct QualitySummary {
  ClusteredMean loss;            // nats per token
  double perplexity = 0;         // exp(loss.mean)
  Interval perplexity_interval;  // exp(loss.mean +- 1.96 standard errors)
  ClusteredMean divergence;
  double divergence_p99 = 0;
  Interval divergence_p99_interval;  // bootstrap over clusters
  ClusteredMean same_top;            // a share
  ClusteredMean log_ratio;           // loss - reference_loss: ln of the perplexities' ratio
};
QualitySummary Summarise(std::span<const TokenScore> scores);

}  // namespace millrace
