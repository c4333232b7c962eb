#include "embedding/vector_model.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace millrace {

EmbeddingText CutToFit(const EmbeddingModel& model, EmbeddingText text) {
  const int64_t most = model.max_tokens(), size = std::ssize(text.tokens);
  const int64_t tail = std::min(text.tail, most);
  if (size > most) {
    text.tokens.erase(text.tokens.begin() + (most - tail), text.tokens.end() - tail);
  }
  return text;
}

EmbeddingText EncodeToFit(const EmbeddingModel& model, std::string_view text) {
  return CutToFit(model, model.Encode(text));
}

Result<VectorModel> MakeVectorModel(EmbeddingService& service, std::string name) {
  const EmbeddingModel& model = service.model();
  VectorModel vectors;
  vectors.name = std::move(name);
  vectors.width = model.width();
  vectors.embed = [&service,
                   &model](std::span<const std::string> texts) -> Result<std::vector<float>> {
    std::vector<EmbeddingText> encoded;
    std::vector<size_t> places;  // of texts that have tokens: the others keep a vector of zeros
    for (size_t i = 0; i < texts.size(); ++i) {
      EmbeddingText text = EncodeToFit(model, texts[i]);
      if (text.tokens.empty()) continue;
      encoded.push_back(std::move(text));
      places.push_back(i);
    }
    ASSIGN_OR_RETURN(const auto made, service.Compute(std::move(encoded), "passage"));
    const auto width = static_cast<size_t>(model.width());
    std::vector<float> all(texts.size() * width);
    for (size_t i = 0; i < places.size(); ++i) {
      std::copy_n(made.begin() + static_cast<std::ptrdiff_t>(i * width), width,
                  all.begin() + static_cast<std::ptrdiff_t>(places[i] * width));
    }
    return all;
  };
  const std::string probe = kVectorProbe;
  ASSIGN_OR_RETURN(vectors.probe, vectors.embed({&probe, 1}));
  return vectors;
}

}  // namespace millrace
