// /openapi.json says what the parsers do.
#include "openai_api/openapi.h"

#include <set>

#include "openai_api/embedding_requests.h"
#include "openai_api/parsing_test_util.h"
#include "openai_api/store_json.h"
#include "openai_api/translated_chat.h"

namespace millrace {
namespace {

json Document() {
  const ApiRoute routes[] = {{"POST", "/v1/chat/completions"}, {"GET", "/v1/models/*"},
                             {"GET", "/health/live", false},   {"POST", "/v1/embeddings"},
                             {"POST", "/v1/vector_stores/*"},  {"DELETE", "/v1/vector_stores/*"},
                             {"POST", "/of/somebody/else"}};
  return json::parse(OpenApiJson(routes, "1.2.3"));
}

ApiError ErrorOfBody(const std::string& schema, json body) {
  const auto error = [](const auto& parsed) {
    const ApiError* found = std::get_if<ApiError>(&parsed);
    return found != nullptr ? *found : ApiError{};
  };
  const std::string text = body.dump();
  if (schema == "ChatRequest") return error(ParseChatRequest(text, UnknownFields::kRefuse));
  if (schema == "CompletionRequest")
    return error(ParseCompletionRequest(text, UnknownFields::kRefuse));
  if (schema == "ResponsesRequest")
    return error(ParseResponsesRequest(text, UnknownFields::kRefuse));
  if (schema == "MessagesRequest") return error(ParseMessagesRequest(text, UnknownFields::kRefuse));
  if (schema == "EmbeddingsRequest")
    return error(ParseEmbeddingsRequest(text, UnknownFields::kRefuse));
  if (schema == "RerankRequest") return error(ParseRerankRequest(text, UnknownFields::kRefuse));
  if (schema == "VectorStoreRequest")
    return error(ParseStoreCreation(text, "vs", UnknownFields::kRefuse));
  if (schema == "StoreFileRequest") return error(ParseStoreFile(text, UnknownFields::kRefuse));
  if (schema == "StoreFileBatchRequest")
    return error(ParseStoreFileBatch(text, UnknownFields::kRefuse));
  if (schema == "StoreDocumentsRequest")
    return error(ParseStoreDocuments(text, UnknownFields::kRefuse));
  if (schema == "StoreSearchRequest") return error(ParseStoreSearch(text, UnknownFields::kRefuse));
  ADD_FAILURE() << schema;
  return {};
}

json LeastBody(const std::string& schema) {
  const json document = {{"id", "d"}, {"text", "t"}}, file = {{"file_id", "d"}, {"text", "t"}};
  if (schema == "EmbeddingsRequest") return {{"input", "x"}};
  if (schema == "RerankRequest") return {{"query", "x"}, {"documents", json::array({"y"})}};
  if (schema == "VectorStoreRequest") return json::object();
  if (schema == "StoreFileRequest") return file;
  if (schema == "StoreFileBatchRequest") return {{"files", json::array({file})}};
  if (schema == "StoreDocumentsRequest") return {{"documents", json::array({document})}};
  if (schema == "StoreSearchRequest") return {{"query", "x"}};
  if (schema == "CompletionRequest") return {{"prompt", "x"}};
  if (schema == "ResponsesRequest") return {{"input", "x"}};
  json body = {{"messages", json::array({kUser})}};
  if (schema == "MessagesRequest") body["max_tokens"] = 5;
  return body;
}

constexpr const char* kBodies[] = {"ChatRequest", "CompletionRequest", "ResponsesRequest",
                                   "MessagesRequest"};
// Of the routes that do not generate.
constexpr const char* kOtherBodies[] = {
    "EmbeddingsRequest",     "RerankRequest",         "VectorStoreRequest", "StoreFileRequest",
    "StoreFileBatchRequest", "StoreDocumentsRequest", "StoreSearchRequest"};

TEST(OpenApi, NumbersOutsideTheStatedRangeAreRefusedByTheirName) {
  const json document = Document();
  for (const char* schema : kBodies) {
    int ranges = 0;
    for (const auto& [name, field] :
         document["components"]["schemas"][schema]["properties"].items()) {
      const bool number =
          field.contains("type") && (field["type"] == "integer" || field["type"] == "number");
      if (!number) continue;
      for (const char* bound : {"minimum", "maximum"}) {
        if (!field.contains(bound)) continue;
        ++ranges;
        const bool low = bound == std::string("minimum");
        json body = LeastBody(schema);
        body[name] = field[bound].get<double>() + (low ? -1.0 : 1.0);
        EXPECT_EQ(ErrorOfBody(schema, body).param, name) << schema << " " << body;
      }
    }
    EXPECT_GT(ranges, 10) << schema;
  }
}

TEST(OpenApi, EveryFieldIsKnownAndNoOther) {
  const json document = Document();
  for (const char* schema : kBodies) {
    const json& properties = document["components"]["schemas"][schema]["properties"];
    EXPECT_GT(properties.size(), 15u) << schema;
    for (const auto& [name, field] : properties.items()) {
      json body = LeastBody(schema);
      // A wrong value is refused for that, never as an unknown field.
      body[name] = json{{"no", "such value"}};
      EXPECT_NE(ErrorOfBody(schema, body).code, "unknown_parameter") << schema << " " << name;
    }
    json body = LeastBody(schema);
    body["nonsense"] = 1;
    EXPECT_EQ(ErrorOfBody(schema, body).code, "unknown_parameter");
    EXPECT_TRUE(ErrorOfBody(schema, LeastBody(schema)).message.empty());
  }
}

// As those of generation above.
TEST(OpenApi, BodiesOfOtherRoutesAreWhatTheirParsersTake) {
  const json document = Document();
  for (const char* schema : kOtherBodies) {
    const json& properties = document["components"]["schemas"][schema]["properties"];
    EXPECT_FALSE(properties.empty()) << schema;
    EXPECT_TRUE(ErrorOfBody(schema, LeastBody(schema)).message.empty()) << schema;
    for (const auto& [name, field] : properties.items()) {
      EXPECT_FALSE(field.empty()) << schema << " says nothing of " << name;
      json body = LeastBody(schema);
      body[name] = json{{"no", "such value"}};
      const ApiError error = ErrorOfBody(schema, body);
      EXPECT_FALSE(error.message.empty()) << schema << " " << name;
      EXPECT_NE(error.code, "unknown_parameter") << schema << " " << name;
      for (const json& nothing : field.value("enum", json::array())) {
        if (!nothing.is_null()) continue;
        body[name] = nothing;
        EXPECT_TRUE(ErrorOfBody(schema, body).message.empty()) << schema << " " << name;
      }
      for (const char* bound : {"minimum", "maximum"}) {
        if (!field.contains(bound)) continue;
        body[name] = field[bound].get<double>() + (bound == std::string("minimum") ? -1.0 : 1.0);
        EXPECT_EQ(ErrorOfBody(schema, body).param, name) << schema << " " << body;
      }
    }
    json body = LeastBody(schema);
    body["nonsense"] = 1;
    EXPECT_EQ(ErrorOfBody(schema, body).code, "unknown_parameter") << schema;
    for (const json& name :
         document["components"]["schemas"][schema].value("required", json::array())) {
      body = LeastBody(schema);
      body.erase(name.get<std::string>());
      EXPECT_EQ(ErrorOfBody(schema, body).param, name) << schema;
    }
  }
}

TEST(OpenApi, TheStoresRouteIsDescribedByWhatStandsBelowIt) {
  const json document = Document();
  const json& search = document["paths"]["/v1/vector_stores/{id}/search"]["post"];
  EXPECT_EQ(search["requestBody"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/StoreSearchRequest");
  const json& file = document["paths"]["/v1/vector_stores/{id}/files/{file_id}"]["delete"];
  ASSERT_EQ(file["parameters"].size(), 2u);
  EXPECT_EQ(file["parameters"][1]["name"], "file_id");
  EXPECT_EQ(document["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]
                    ["application/json"]["schema"]["$ref"],
            "#/components/schemas/EmbeddingsRequest");
}

TEST(OpenApi, NamesOfModelsAreExplained) {
  const json document = Document();
  for (const char* schema : kBodies) {
    const json& model = document["components"]["schemas"][schema]["properties"]["model"];
    EXPECT_NE(model["description"].get<std::string>().find("adapter"), std::string::npos) << schema;
  }
}

TEST(OpenApi, RequiredFieldsAreMissed) {
  const json document = Document();
  for (const char* schema : kBodies) {
    for (const json& name : document["components"]["schemas"][schema]["required"]) {
      json body = LeastBody(schema);
      body.erase(name.get<std::string>());
      EXPECT_EQ(ErrorOfBody(schema, body).param, name) << schema;
    }
  }
}

TEST(OpenApi, RoutesHaveTheirBodiesAndTheirKeys) {
  const json document = Document();
  EXPECT_EQ(document["openapi"], "3.1.0");
  EXPECT_EQ(document["info"]["version"], "1.2.3");
  const json& chat = document["paths"]["/v1/chat/completions"]["post"];
  EXPECT_EQ(chat["requestBody"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/ChatRequest");
  EXPECT_TRUE(chat["responses"]["200"]["content"].contains("text/event-stream"));
  EXPECT_FALSE(chat.contains("security"));
  EXPECT_EQ(document["paths"]["/health/live"]["get"]["security"], json::array());
  const json& model = document["paths"]["/v1/models/{id}"]["get"];
  EXPECT_EQ(model["parameters"][0]["name"], "id");
  EXPECT_TRUE(document["paths"].contains("/of/somebody/else"));
}

}  // namespace
}  // namespace millrace
