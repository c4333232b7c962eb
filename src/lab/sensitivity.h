// Sensitivity: what quantising one tensor alone does to a model's predictions.
//
// The divergence of small errors is about quadratic in them and about adds up over tensors, so
// single measurements plan a whole file (conversion/budget.h), and the divergence of one type
// estimates that of another by the ratio of their weighted squared errors.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "lab/quality.h"
#include "model/transformer.h"

namespace millrace {

// Forwards to a model and keeps its logits; once rewound, gives them back in the same order without
// computing: a reference that costs memory instead of time. The batches must repeat.
class RecordedModel : public Model {
 public:
  explicit RecordedModel(Model& model) : model_(model) {}
  MatrixView<const float> Forward(const Batch& batch, KvStore& kv) override;
  const ModelInfo& info() const override { return model_.info(); }
  void Rewind() {
    recorded_ = true;
    next_ = 0;
  }

 private:
  struct Logits {
    std::vector<float> values;
    int64_t rows = 0, columns = 0;
  };
  Model& model_;
  std::vector<Logits> kept_;
  bool recorded_ = false;
  size_t next_ = 0;
};

// Measures divergences from a model's own unchanged predictions. Between calls the model is as it
// was.
class SensitivityMeter {
 public:
  // `model`, `documents` and `pool` must outlive it. Computes the unchanged predictions.
  static Result<std::unique_ptr<SensitivityMeter>> Create(Transformer& model,
                                                          std::vector<Document> documents,
                                                          const ScoreOptions& options,
                                                          ThreadPool& pool);
  // With `replacement` in the tensor's place. The tensor must be one that FindMatrix knows (CHECK).
  Result<ClusteredMean> Divergence(std::string_view tensor, WeightMatrix replacement);
  // Of another model: a whole quantised file.
  Result<QualitySummary> Compare(Model& other);

 private:
  SensitivityMeter(Transformer& model, std::vector<Document> documents, const ScoreOptions& options,
                   ThreadPool& pool)
      : model_(model),
        reference_(model),
        documents_(std::move(documents)),
        options_(options),
        pool_(pool) {}
  Result<QualitySummary> ScoreAgainstReference(Model& model);

  Transformer& model_;
  RecordedModel reference_;
  std::vector<Document> documents_;
  ScoreOptions options_;
  ThreadPool& pool_;
};

}  // namespace millrace
