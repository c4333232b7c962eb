// The bodies of embeddings and rerank requests: JSON -> plain structs; request_parser.h has the
// rules that all bodies follow.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "openai_api/api_error.h"
#include "openai_api/request_parser.h"

namespace millrace {

inline constexpr size_t kMaxEmbeddingInputs = 2048;  // OpenAI's limit
inline constexpr size_t kMaxRerankDocuments = 2048;

enum class EmbeddingFormat { kFloat, kBase64 };

struct EmbeddingsRequest {
  std::string model;           // as the client named it; empty: the one there is
  std::vector<Prompt> inputs;  // at least one; token arrays are taken as they are
  EmbeddingFormat format = EmbeddingFormat::kFloat;
  std::optional<int32_t> dimensions;  // at least 1
};

// As Jina's, Cohere's and llama.cpp's clients send it.
struct RerankRequest {
  std::string model;
  std::string query;
  std::vector<std::string> documents;  // at least one
  std::optional<int32_t> top_n;        // at least 1
  bool return_documents = false;
  bool raw_scores = false;  // the model's own numbers instead of those between 0 and 1
};

ApiResult<EmbeddingsRequest> ParseEmbeddingsRequest(std::string_view body, UnknownFields unknown);
ApiResult<RerankRequest> ParseRerankRequest(std::string_view body, UnknownFields unknown);

}  // namespace millrace
