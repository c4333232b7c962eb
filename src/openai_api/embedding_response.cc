#include "openai_api/embedding_response.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <numeric>

#include "openai_api/json_fields.h"

namespace millrace {
namespace {

using openai_internal::Dump;
using openai_internal::Json;

// Written as text: a Json of every number of a large response would take many times its memory.
void AppendFloats(std::span<const float> vector, std::string& out) {
  out += '[';
  for (size_t i = 0; i < vector.size(); ++i) {
    if (i > 0) out += ',';
    if (std::isfinite(vector[i])) {
      fmt::format_to(std::back_inserter(out), "{}", vector[i]);
    } else {
      out += "null";
    }
  }
  out += ']';
}

void AppendBase64(std::span<const float> vector, std::string& out) {
  std::vector<unsigned char> bytes;
  for (const float x : vector) {
    const auto bits = std::bit_cast<uint32_t>(x);
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<unsigned char>(bits >> shift));
    }
  }
  out += '"' + openai_internal::Base64(bytes) + '"';
}

std::string TokenUsageJson(int64_t tokens) {
  return fmt::format(R"({{"prompt_tokens":{0},"total_tokens":{0}}})", tokens);
}

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

namespace openai_internal {

std::string Base64(std::span<const unsigned char> bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) group = group << 8 | (j < count ? bytes[i + j] : 0u);
    for (size_t j = 0; j < 4; ++j) {
      out += j <= count ? kDigits[group >> (18 - 6 * j) & 63] : '=';
    }
  }
  return out;
}

}  // namespace openai_internal

std::string EmbeddingsJson(std::string_view model, MatrixView<const float> vectors,
                           EmbeddingFormat format, int64_t tokens) {
  std::string out = R"({"object":"list","data":[)";
  for (int64_t i = 0; i < vectors.rows; ++i) {
    if (i > 0) out += ',';
    fmt::format_to(std::back_inserter(out), R"({{"object":"embedding","index":{},"embedding":)", i);
    const std::span<const float> vector(vectors.row(i), static_cast<size_t>(vectors.columns));
    if (format == EmbeddingFormat::kBase64) {
      AppendBase64(vector, out);
    } else {
      AppendFloats(vector, out);
    }
    out += '}';
  }
  return out + R"(],"model":)" + Dump(Json(std::string(model))) + R"(,"usage":)" +
         TokenUsageJson(tokens) + "}";
}

std::vector<float> Shortened(MatrixView<const float> vectors, int32_t dimensions) {
  std::vector<float> out;
  for (int64_t i = 0; i < vectors.rows; ++i) {
    const std::span<const float> kept(vectors.row(i), static_cast<size_t>(dimensions));
    double sum = 0;
    for (const float x : kept) sum += double{x} * x;
    const double norm = sum > 0 ? std::sqrt(sum) : 1.0;
    for (const float x : kept) out.push_back(static_cast<float>(x / norm));
  }
  return out;
}

std::string RerankJson(std::string_view model, const RerankRequest& request,
                       std::span<const float> scores, int64_t tokens) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // What is not a number comes last.
  const auto rank = [&](size_t i) { return std::isnan(scores[i]) ? -INFINITY : scores[i]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return rank(a) > rank(b); });
  if (request.top_n && static_cast<size_t>(*request.top_n) < order.size()) {
    order.resize(static_cast<size_t>(*request.top_n));
  }
  Json results = Json::array();
  for (const size_t i : order) {
    Json result = {{"index", i}};
    result["relevance_score"] = request.raw_scores ? double{scores[i]} : Sigmoid(scores[i]);
    if (request.return_documents) result["document"] = {{"text", request.documents[i]}};
    results.push_back(std::move(result));
  }
  const Json json = {{"object", "list"},
                     {"model", std::string(model)},
                     {"results", std::move(results)},
                     {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}};
  return Dump(json);
}

}  // namespace millrace
