#include "embedding/token_scorer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "gguf/gguf.h"

namespace millrace {
namespace {

constexpr int32_t kRowsAtOnce = 64;  // of logits: vocabularies are large

}  // namespace

Result<std::unique_ptr<TokenScorer>> TokenScorer::Load(const GgufFile& file, Isa isa,
                                                       const WeightOptions& weights,
                                                       ThreadPool& pool) {
  TransformerOptions options;
  options.isa = isa;
  options.max_positions = kWindow;
  options.weights = weights;
  ASSIGN_OR_RETURN(auto model, Transformer::Load(file, options, pool));
  ASSIGN_OR_RETURN(KvStore kv,
                   KvStore::Create(model->info().kv_shape, KvType::kBf16, BlocksFor(kWindow)));
  return std::unique_ptr<TokenScorer>(new TokenScorer(std::move(model), std::move(kv), isa));
}

Result<std::vector<float>> TokenScorer::Surprises(std::span<const TokenId> tokens) {
  const int32_t vocab = model_->info().vocab_size;
  if (tokens.empty() || tokens.size() > static_cast<size_t>(kWindow)) {
    return Error{"A text to score must have 1 to " + std::to_string(kWindow) + " tokens"};
  }
  for (const TokenId token : tokens) {
    if (token.value >= 0 && token.value < vocab) continue;
    return Error{"Token " + std::to_string(token.value) + " is outside the vocabulary of " +
                 std::to_string(vocab)};
  }
  std::vector<BlockId> blocks;
  for (int32_t b = 0; b < BlocksFor(static_cast<int32_t>(tokens.size())); ++b)
    blocks.push_back(BlockId(b));
  std::vector<float> surprises, row(static_cast<size_t>(vocab));
  const std::lock_guard lock(mutex_);
  const size_t scored = tokens.size() - 1;  // the last token's logits are of what would follow
  for (size_t first = 0; first < scored; first += kRowsAtOnce) {
    const size_t rows = std::min<size_t>(kRowsAtOnce, scored - first);
    Batch batch;
    batch.sequences.push_back({tokens.subspan(first, rows), static_cast<int32_t>(first), blocks,
                               static_cast<int32_t>(rows)});
    const MatrixView<const float> logits = model_->Forward(batch, kv_);
    for (size_t i = 0; i < rows; ++i) {
      std::copy_n(logits.row(static_cast<int64_t>(i)), vocab, row.begin());
      // The largest probability is at least 1 / vocab, so that its logarithm is exact; a small one
      // would be lost.
      const auto top = static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin());
      const float below = row[top] - row[static_cast<size_t>(tokens[first + i + 1].value)];
      nn_.softmax(row.data(), vocab);
      surprises.push_back(below - std::log(row[top]));
    }
  }
  return surprises;
}

}  // namespace millrace
