#include "openai_api/embedding_requests.h"

#include <fmt/format.h>

#include <utility>

#include "openai_api/field_tables.h"
#include "openai_api/generation_options.h"
#include "openai_api/json_fields.h"
#include "openai_api/text_inputs.h"

namespace millrace {
namespace {

using openai_internal::Fields;
using openai_internal::Finish;
using openai_internal::Json;
using openai_internal::kMaxInt32;

EmbeddingFormat ParseEncodingFormat(Fields& fields) {
  const std::string format = fields.String("encoding_format").value_or("float");
  if (format == "base64") return EmbeddingFormat::kBase64;
  if (format != "float") {
    fields.Fail("encoding_format", "'encoding_format' must be float or base64.", "invalid_value");
  }
  return EmbeddingFormat::kFloat;
}

// A string, or an object with the field "text".
std::optional<std::string> DocumentText(const Json& document) {
  if (document.is_string()) return document.get<std::string>();
  if (!document.is_object()) return std::nullopt;
  const auto text = document.find("text");
  if (text == document.end() || !text->is_string()) return std::nullopt;
  return text->get<std::string>();
}

void ParseRerankDocuments(Fields& fields, std::vector<std::string>& documents) {
  const Json* list = fields.Find("documents");
  if (list == nullptr || !list->is_array() || list->empty()) {
    fields.Fail("documents",
                "'documents' must be an array of strings, or of objects with a text, and not "
                "empty.",
                list == nullptr ? "missing_required_parameter" : "invalid_type");
    return;
  }
  if (list->size() > kMaxRerankDocuments) {
    fields.Fail("documents", fmt::format("{} documents are more than {}: send several requests.",
                                         list->size(), kMaxRerankDocuments));
    return;
  }
  for (size_t i = 0; i < list->size(); ++i) {
    auto text = DocumentText((*list)[i]);
    if (!text) {
      fields.Fail("documents",
                  fmt::format("'documents[{}]' must be a string or an object with a text.", i),
                  "invalid_type");
      return;
    }
    documents.push_back(*std::move(text));
  }
}

EmbeddingsRequest ReadEmbeddings(Fields& fields) {
  EmbeddingsRequest request;
  request.model = fields.String("model").value_or("");
  fields.String("user");
  openai_internal::ParseTextInputs(fields, "input", request.inputs);
  if (request.inputs.size() > kMaxEmbeddingInputs) {
    fields.Fail("input", fmt::format("{} inputs are more than {}: send several requests.",
                                     request.inputs.size(), kMaxEmbeddingInputs));
  }
  request.format = ParseEncodingFormat(fields);
  if (const auto dimensions = fields.Int("dimensions", 1, kMaxInt32)) {
    request.dimensions = static_cast<int32_t>(*dimensions);
  }
  return request;
}

RerankRequest ReadRerank(Fields& fields) {
  RerankRequest request;
  request.model = fields.String("model").value_or("");
  const auto query = fields.String("query");
  if (!query) fields.Fail("query", "'query' is missing.", "missing_required_parameter");
  request.query = query.value_or("");
  ParseRerankDocuments(fields, request.documents);
  if (const auto top_n = fields.Int("top_n", 1, kMaxInt32)) {
    request.top_n = static_cast<int32_t>(*top_n);
  }
  request.return_documents = fields.Bool("return_documents").value_or(false);
  request.raw_scores = fields.Bool("raw_scores").value_or(false);
  return request;
}

}  // namespace

ApiResult<EmbeddingsRequest> ParseEmbeddingsRequest(std::string_view body, UnknownFields unknown) {
  ApiResult<Json> parsed = openai_internal::ParseJsonObject(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return *error;
  Fields fields(std::get<Json>(parsed));
  EmbeddingsRequest request = ReadEmbeddings(fields);
  return Finish(fields, unknown, std::move(request));
}

ApiResult<RerankRequest> ParseRerankRequest(std::string_view body, UnknownFields unknown) {
  ApiResult<Json> parsed = openai_internal::ParseJsonObject(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return *error;
  Fields fields(std::get<Json>(parsed));
  RerankRequest request = ReadRerank(fields);
  return Finish(fields, unknown, std::move(request));
}

openai_internal::FieldTable openai_internal::EmbeddingsFields() { return TableOf(ReadEmbeddings); }
openai_internal::FieldTable openai_internal::RerankFields() { return TableOf(ReadRerank); }

}  // namespace millrace
