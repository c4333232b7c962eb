#include "server/passage_models.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace millrace::server_internal {
namespace {

std::string TitledText(const Passage& passage) {
  return passage.title.empty() ? passage.text : passage.title + ": " + passage.text;
}

// Ends with the model's own last token ([SEP], or the end of text), as a whole text does.
EmbeddingText CutToFit(const EmbeddingModel& model, EmbeddingText text) {
  const auto most = static_cast<size_t>(model.max_tokens());
  if (text.tokens.size() > most) {
    const TokenId last = text.tokens.back();
    text.tokens.resize(most);
    text.tokens.back() = last;
  }
  return text;
}

// Vectors are of length 1.
Result<std::vector<double>> Cosines(EmbeddingService& service, std::string_view question,
                                    std::span<const Passage> passages) {
  const EmbeddingModel& model = service.model();
  std::vector<EmbeddingText> texts = {CutToFit(model, model.Encode(question))};
  for (const Passage& passage : passages)
    texts.push_back(CutToFit(model, model.Encode(TitledText(passage))));
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
    pairs.push_back(CutToFit(model, model.EncodePair(question, TitledText(passage))));
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
