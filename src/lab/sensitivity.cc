#include "lab/sensitivity.h"

#include "base/check.h"

namespace millrace {

MatrixView<const float> RecordedModel::Forward(const Batch& batch, KvStore& kv) {
  if (!recorded_) {
    const MatrixView<const float> logits = model_.Forward(batch, kv);
    CHECK(logits.stride == logits.columns || logits.rows == 0);
    const float* begin = logits.data;
    kept_.push_back({{begin, begin + logits.rows * logits.columns}, logits.rows, logits.columns});
    return logits;
  }
  CHECK(next_ < kept_.size());
  const Logits& logits = kept_[next_++];
  int64_t rows = 0;
  for (const BatchSequence& s : batch.sequences) rows += s.logit_rows;
  CHECK(rows == logits.rows);
  return {logits.values.data(), logits.rows, logits.columns, logits.columns};
}

Result<std::unique_ptr<SensitivityMeter>> SensitivityMeter::Create(Transformer& model,
                                                                   std::vector<Document> documents,
                                                                   const ScoreOptions& options,
                                                                   ThreadPool& pool) {
  std::unique_ptr<SensitivityMeter> meter(
      new SensitivityMeter(model, std::move(documents), options, pool));
  // The model stands on both sides of the first pass; the reference's logits are kept.
  ASSIGN_OR_RETURN(const auto scores, ScoreDocuments(model, &meter->reference_, meter->documents_,
                                                     meter->options_, pool));
  CHECK(!scores.empty());
  return meter;
}

Result<QualitySummary> SensitivityMeter::ScoreAgainstReference(Model& model) {
  reference_.Rewind();
  ASSIGN_OR_RETURN(const auto scores,
                   ScoreDocuments(model, &reference_, documents_, options_, pool_));
  return Summarise(scores);
}

Result<ClusteredMean> SensitivityMeter::Divergence(std::string_view tensor,
                                                   WeightMatrix replacement) {
  WeightMatrix* const matrix = model_.FindMatrix(tensor);
  CHECK(matrix != nullptr && matrix->rows() == replacement.rows() &&
        matrix->columns() == replacement.columns());
  std::swap(*matrix, replacement);
  auto summary = ScoreAgainstReference(model_);
  std::swap(*matrix, replacement);
  if (!summary.ok()) return summary.error();
  return summary->divergence;
}

Result<QualitySummary> SensitivityMeter::Compare(Model& other) {
  return ScoreAgainstReference(other);
}

}  // namespace millrace
