#include "server/passage_models.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "embedding/vector_model.h"

namespace millrace::server_internal {
namespace {

// Vectors are of length 1.
Result<std::vector<double>> Cosines(EmbeddingService& service, std::string_view question,
                                    std::span<const Passage> passages) {
  const EmbeddingModel& model = service.model();
  std::vector<EmbeddingText> texts = {EncodeToFit(model, question)};
  for (const Passage& passage : passages)
    texts.push_back(EncodeToFit(model, TitledText(passage.title, passage.text)));
  ASSIGN_OR_RETURN(const std::vector<float> vectors, service.Compute(std::move(texts), "passage"));
  const auto width = static_cast<size_t>(model.width());
  std::vector<double> cosines;
  for (size_t i = 1; i <= passages.size(); ++i) {
    double sum = 0;
    for (size_t j = 0; j < width; ++j) sum += double{vectors[j]} * vectors[i * width + j];
    cosines.push_back(sum);
  }
  return cosines;
}

Result<std::vector<double>> Relevances(EmbeddingService& service, std::string_view question,
                                       std::span<const Passage> passages) {
  const EmbeddingModel& model = service.model();
  std::vector<EmbeddingText> pairs;
  for (const Passage& passage : passages)
    pairs.push_back(
        CutToFit(model, model.EncodePair(question, TitledText(passage.title, passage.text))));
  ASSIGN_OR_RETURN(const std::vector<float> scores, service.Compute(std::move(pairs), "passage"));
  std::vector<double> relevances;
  for (const float score : scores) relevances.push_back(1 / (1 + std::exp(-double{score})));
  return relevances;
}

}  // namespace

PassageModels PassageModelsOf(const ServedModel& served) {
  PassageModels models;
  if (EmbeddingService* service = served.embedding.service) {
    models.similarity = [service](std::string_view question, std::span<const Passage> passages) {
      return Cosines(*service, question, passages);
    };
  }
  if (EmbeddingService* service = served.rerank.service) {
    models.relevance = [service](std::string_view question, std::span<const Passage> passages) {
      return Relevances(*service, question, passages);
    };
  }
  return models;
}

}  // namespace millrace::server_internal
