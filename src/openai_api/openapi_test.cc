// /openapi.json says what the parsers do.
#include "openai_api/openapi.h"

#include <set>

#include "openai_api/parsing_test_util.h"
#include "openai_api/translated_chat.h"

namespace millrace {
namespace {

json Document() {
  const ApiRoute routes[] = {{"POST", "/v1/chat/completions"},
                             {"GET", "/v1/models/*"},
                             {"GET", "/health/live", false},
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
  ADD_FAILURE() << schema;
  return {};
}

json LeastBody(const std::string& schema) {
  if (schema == "CompletionRequest") return {{"prompt", "x"}};
  if (schema == "ResponsesRequest") return {{"input", "x"}};
  json body = {{"messages", json::array({kUser})}};
  if (schema == "MessagesRequest") body["max_tokens"] = 5;
  return body;
}

constexpr const char* kBodies[] = {"ChatRequest", "CompletionRequest", "ResponsesRequest",
                                   "MessagesRequest"};

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
