#include "lab/quality.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "base/check.h"
#include "lab/row_scores.h"
#include "paged_kv/kv_store.h"

namespace millrace {
namespace {

// Documents that are computed together, each with blocks of its own.
struct Active {
  const Document* document = nullptr;
  std::vector<BlockId> blocks;
  int32_t done = 0;
  size_t first_score = 0;  // where its scores go
  // All tokens but the last go through the model.
  int32_t length() const { return static_cast<int32_t>(document->tokens.size()) - 1; }
  int32_t scored() const { return length() - (document->first_scored - 1); }
};

class Scorer {
 public:
  Scorer(Model& model, Model* reference, const ScoreOptions& options, ThreadPool& pool)
      : model_(model),
        reference_(reference),
        options_(options),
        pool_(pool),
        kernels_(RowScoreKernelsFor(options.isa)) {
    const int64_t row_bytes = int64_t{4} * model.info().vocab_size * (reference != nullptr ? 2 : 1);
    most_logit_rows_ =
        static_cast<int32_t>(std::clamp<int64_t>(options.logit_bytes / row_bytes, 1, 1 << 16));
  }

  Status AllocateFor(int32_t blocks) {
    ASSIGN_OR_RETURN(KvStore kv, KvStore::Create(model_.info().kv_shape, options_.kv_type, blocks));
    kv_.emplace(std::move(kv));
    if (reference_ == nullptr) return {};
    ASSIGN_OR_RETURN(
        KvStore other,
        KvStore::Create(reference_->info().kv_shape,
                        options_.reference_kv_type.value_or(options_.kv_type), blocks));
    reference_kv_.emplace(std::move(other));
    return {};
  }

  // Computes a group to its end, as many rows at a time as the options allow.
  void Run(std::vector<Active>& group, std::vector<TokenScore>& scores) {
    while (Step(group, scores)) {
    }
  }

 private:
  struct Wanted {  // one row of logits
    TokenId next;
    TokenScore* score;
  };

  bool Step(std::vector<Active>& group, std::vector<TokenScore>& scores) {
    Batch batch;
    std::vector<Wanted> wanted;
    int32_t rows = 0;
    for (Active& a : group) {
      const int32_t first_wanted = a.document->first_scored - 1;
      int32_t count = std::min(a.length() - a.done, options_.step_rows - rows);
      const int32_t room = most_logit_rows_ - static_cast<int32_t>(wanted.size());
      count = std::min(count, std::max(0, first_wanted - a.done) + room);
      if (count <= 0) continue;
      const int32_t end = a.done + count;
      const int32_t logit_rows = std::clamp(end - first_wanted, 0, count);
      batch.sequences.push_back(
          {std::span(a.document->tokens)
               .subspan(static_cast<size_t>(a.done), static_cast<size_t>(count)),
           a.done, a.blocks, logit_rows});
      for (int32_t p = end - logit_rows; p < end; ++p) {
        TokenScore& score = scores[a.first_score + static_cast<size_t>(p - first_wanted)];
        score.cluster = a.document->cluster;
        wanted.push_back({a.document->tokens[static_cast<size_t>(p) + 1], &score});
      }
      a.done = end;
      rows += count;
    }
    if (rows == 0) return false;
    const MatrixView<const float> logits = model_.Forward(batch, *kv_);
    MatrixView<const float> other;
    if (reference_ != nullptr) other = reference_->Forward(batch, *reference_kv_);
    pool_.ParallelFor(static_cast<int64_t>(wanted.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        ScoreRow(logits.row(i), other.data != nullptr ? other.row(i) : nullptr, logits.columns,
                 wanted[static_cast<size_t>(i)]);
      }
    });
    return true;
  }

  void ScoreRow(const float* row, const float* reference, int64_t n, const Wanted& wanted) const {
    const RowSummary own = kernels_.summarise(row, n);
    TokenScore& score = *wanted.score;
    score.loss = own.log_sum - row[wanted.next.value];
    if (reference == nullptr) return;
    const RowSummary other = kernels_.summarise(reference, n);
    score.reference_loss = other.log_sum - reference[wanted.next.value];
    score.same_top = own.top == other.top;
    score.divergence =
        std::max(0.0f, kernels_.divergence(reference, other.log_sum, row, own.log_sum, n));
  }

  Model& model_;
  Model* reference_;
  const ScoreOptions& options_;
  ThreadPool& pool_;
  const RowScoreKernels& kernels_;
  int32_t most_logit_rows_ = 1;
  std::optional<KvStore> kv_, reference_kv_;
};

Status Check(const Model& model, const Model* reference, std::span<const Document> documents) {
  if (documents.empty()) return Error{"there is no text to score"};
  for (const Document& d : documents) {
    if (d.tokens.size() < 2 || d.first_scored < 1 ||
        d.first_scored >= static_cast<int32_t>(d.tokens.size())) {
      return Error{"a document of " + std::to_string(d.tokens.size()) +
                   " tokens has nothing to score: give longer texts"};
    }
  }
  CHECK(reference != &model);
  if (reference != nullptr && reference->info().vocab_size != model.info().vocab_size) {
    return Error{"the reference has a vocabulary of " +
                 std::to_string(reference->info().vocab_size) + " tokens and the model one of " +
                 std::to_string(model.info().vocab_size) +
                 ": give the file that the model was quantised from"};
  }
  return {};
}

// The end of the group that begins at `first`: documents of about step_rows tokens together.
size_t GroupEnd(std::span<const Document> documents, size_t first, int32_t step_rows) {
  size_t end = first, tokens = 0;
  while (end < documents.size() && (end == first || tokens + documents[end].tokens.size() <=
                                                        static_cast<size_t>(step_rows) + 16)) {
    tokens += documents[end++].tokens.size();
  }
  return end;
}

}  // namespace

std::vector<Document> CutIntoWindows(std::span<const TokenId> tokens, int32_t window,
                                     const std::vector<TokenId>& bos) {
  std::vector<Document> documents;
  const size_t length = static_cast<size_t>(window) - bos.size();
  for (size_t at = 0; at < tokens.size(); at += length) {
    const auto part = tokens.subspan(at, std::min(length, tokens.size() - at));
    if (part.size() < length && !documents.empty()) break;  // a rest is left out
    Document d;
    d.tokens = bos;
    d.tokens.insert(d.tokens.end(), part.begin(), part.end());
    d.first_scored = std::max(1, static_cast<int32_t>(d.tokens.size() / 2));
    d.cluster = static_cast<int32_t>(documents.size());
    documents.push_back(std::move(d));
  }
  return documents;
}

Result<std::vector<TokenScore>> ScoreDocuments(Model& model, Model* reference,
                                               std::span<const Document> documents,
                                               const ScoreOptions& options, ThreadPool& pool,
                                               const ScoreProgress& progress) {
  RETURN_IF_ERROR(Check(model, reference, documents));
  std::vector<std::vector<Active>> groups;
  size_t score_count = 0;
  int32_t most_blocks = 0;
  int64_t total = 0;
  for (size_t first = 0; first < documents.size();) {
    const size_t end = GroupEnd(documents, first, options.step_rows);
    std::vector<Active> group;
    int32_t block = 0;
    for (; first < end; ++first) {
      Active a;
      a.document = &documents[first];
      for (int32_t b = 0; b < BlocksFor(a.length()); ++b) a.blocks.push_back(BlockId(block++));
      a.first_score = score_count;
      score_count += static_cast<size_t>(a.scored());
      total += a.length();
      group.push_back(std::move(a));
    }
    most_blocks = std::max(most_blocks, block);
    groups.push_back(std::move(group));
  }
  Scorer scorer(model, reference, options, pool);
  RETURN_IF_ERROR(scorer.AllocateFor(most_blocks));
  std::vector<TokenScore> scores(score_count);
  int64_t done = 0;
  for (std::vector<Active>& group : groups) {
    scorer.Run(group, scores);
    for (const Active& a : group) done += a.length();
    if (progress) progress(done, total);
  }
  return scores;
}

QualitySummary Summarise(std::span<const TokenScore> scores) {
  std::vector<double> loss, divergence, same, ratio;
  std::vector<int32_t> cluster;
  for (const TokenScore& s : scores) {
    loss.push_back(s.loss);
    divergence.push_back(s.divergence);
    same.push_back(s.same_top ? 1 : 0);
    ratio.push_back(static_cast<double>(s.loss) - s.reference_loss);
    cluster.push_back(s.cluster);
  }
  constexpr int kResamples = 200;
  QualitySummary summary;
  summary.loss = MeanByCluster(loss, cluster);
  summary.perplexity = std::exp(summary.loss.mean);
  const double half = kNormal95 * summary.loss.standard_error;
  summary.perplexity_interval = {std::exp(summary.loss.mean - half),
                                 std::exp(summary.loss.mean + half)};
  summary.divergence = MeanByCluster(divergence, cluster);
  summary.divergence_p99 = Quantile(divergence, 0.99);
  summary.divergence_p99_interval = BootstrapQuantile(divergence, cluster, 0.99, kResamples, 1);
  summary.same_top = MeanByCluster(same, cluster);
  summary.log_ratio = MeanByCluster(ratio, cluster);
  return summary;
}

}  // namespace millrace
