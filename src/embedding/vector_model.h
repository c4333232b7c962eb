// An embedding model for the stores of passages: a service as prompt_reduction's VectorModel.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "embedding/embedding_service.h"
#include "prompt_reduction/vector_model.h"

namespace millrace {

// What the model reads of a text: all of it, or where it cannot, its beginning, with what the model
// itself puts behind a text ([SEP], the end of text, the end of a template).
EmbeddingText EncodeToFit(const EmbeddingModel& model, std::string_view text);
EmbeddingText CutToFit(const EmbeddingModel& model, EmbeddingText text);

// Vectors by `service`, which must outlive it. Asks it for the probe's. `embed` waits for the
// service; any thread but its own. A text without tokens (of a decoder) has a vector of zeros.
Result<VectorModel> MakeVectorModel(EmbeddingService& service, std::string name);

}  // namespace millrace
