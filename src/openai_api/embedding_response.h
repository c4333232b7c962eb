// Vectors and scores -> the responses of /v1/embeddings and /v1/rerank, as JSON texts.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/matrix.h"
#include "openai_api/embedding_requests.h"

namespace millrace {

// `vectors` [texts, dimensions]. Numbers have as many digits as make the same float again; base64
// is of little-endian float32.
std::string EmbeddingsJson(std::string_view model, MatrixView<const float> vectors,
                           EmbeddingFormat format, int64_t tokens);

// The first `dimensions` of each vector [texts, width], scaled to length 1 again: what models
// trained for it ("Matryoshka"; Kusupati et al. 2022) are meant for.
std::vector<float> Shortened(MatrixView<const float> vectors, int32_t dimensions);

// `scores`: one per document of the request. Best first, equals in the order of the request, at
// most top_n; unless raw_scores, 1 / (1 + e^-score).
std::string RerankJson(std::string_view model, const RerankRequest& request,
                       std::span<const float> scores, int64_t tokens);

namespace openai_internal {
std::string Base64(std::span<const unsigned char> bytes);  // RFC 4648, section 4, padded
}

}  // namespace millrace
