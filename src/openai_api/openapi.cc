#include "openai_api/openapi.h"

#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "openai_api/field_tables.h"
#include "openai_api/openapi_shapes.h"

namespace millrace {
namespace {

using namespace openai_internal;

struct Operation {
  std::string_view method, path, summary;
  std::string_view body = {};  // the name of a schema; empty: none
  bool streams = false;
};

constexpr Operation kOperations[] = {
    {"GET", "/", "The page for people"},
    {"GET", "/health/live", "Whether the process answers"},
    {"GET", "/health", "The same as /health/ready, under the name that other servers give it"},
    {"GET", "/health/ready", "Whether requests are taken: 503 while it drains"},
    {"GET", "/version", "The server's version"},
    {"GET", "/metrics", "Prometheus metrics"},
    {"GET", "/openapi.json", "This document"},
    {"GET", "/v1/models",
     "The served model, its aliases, its LoRA adapters by name, and the models beside it"},
    {"GET", "/v1/models/*", "One of them"},
    {"GET", "/v1/insights", "What the optimisations have saved"},
    {"POST", "/v1/chat/completions", "The next message of a chat", "ChatRequest", true},
    {"POST", "/v1/completions", "The continuation of a text", "CompletionRequest", true},
    {"POST", "/v1/responses", "The same as OpenAI's Responses", "ResponsesRequest", true},
    {"POST", "/v1/messages", "The same as Anthropic's Messages", "MessagesRequest", true},
    {"POST", "/v1/messages/count_tokens", "How many tokens a message's prompt has",
     "MessagesRequest"},
    {"POST", "/v1/embeddings", "The vectors of texts", "EmbeddingsRequest"},
    {"POST", "/v1/rerank", "How well documents answer a query", "RerankRequest"},
    {"GET", "/v1/vector_stores", "The stores of passages"},
    {"POST", "/v1/vector_stores", "A new store", "VectorStoreRequest"},
    {"GET", "/debug/timeline", "What each of the last steps held and took"},
    {"GET", "/debug/kv", "Who has which blocks of KV memory"},
    {"GET", "/debug/about", "The model and the switches"},
    {"GET", "/debug/samples", "Questions that the model can answer"},
    {"GET", "/debug/comparison", "What quantization cost a known model"},
    {"GET", "/debug/events", "What the dashboard draws, as a stream", {}, true},
    {"POST", "/debug/attention", "Standard and flash attention, measured now", "AttentionRequest"},
    {"GET", "/debug/measure", "How far the measurement is"},
    {"POST", "/debug/measure", "Starts a measurement", "MeasureRequest"},
    {"DELETE", "/debug/measure", "Cancels the measurement"},
    {"POST", "/tokenize", "A text's tokens", "TokenizeRequest"},
    {"POST", "/detokenize", "The text of tokens", "DetokenizeRequest"},
};

// What the route /v1/vector_stores/* divides among itself by the rest of its path.
constexpr std::string_view kStoreRoute = "/v1/vector_stores/*";
constexpr Operation kStoreOperations[] = {
    {"GET", "/v1/vector_stores/{id}", "A store"},
    {"DELETE", "/v1/vector_stores/{id}", "Deletes a store"},
    {"POST", "/v1/vector_stores/{id}/search", "The passages on a question", "StoreSearchRequest"},
    {"GET", "/v1/vector_stores/{id}/files", "Its documents"},
    {"POST", "/v1/vector_stores/{id}/files", "Adds a document", "StoreFileRequest"},
    {"POST", "/v1/vector_stores/{id}/file_batches", "Adds documents", "StoreFileBatchRequest"},
    {"POST", "/v1/vector_stores/{id}/documents", "The same in another shape",
     "StoreDocumentsRequest"},
    {"GET", "/v1/vector_stores/{id}/files/{file_id}", "A document"},
    {"GET", "/v1/vector_stores/{id}/files/{file_id}/content", "Its passages"},
    {"DELETE", "/v1/vector_stores/{id}/files/{file_id}", "Deletes a document"},
    {"DELETE", "/v1/vector_stores/{id}/documents/{file_id}", "The same"},
};

const Operation* Find(const ApiRoute& route) {
  for (const Operation& operation : kOperations) {
    if (operation.method == route.method && operation.path == route.path) return &operation;
  }
  return nullptr;
}

constexpr char kModelText[] =
    "A name of /v1/models: the served model, an alias of it, a LoRA adapter by its name, or "
    "MODEL:ADAPTER. None, or an empty one: the served model.";

// `body`: the schema that the field is of.
Json FieldSchema(std::string_view body, const std::string& name, const FieldInfo& info) {
  constexpr double kExact = 0x1p53;  // wider ranges are those of the type
  Json schema;
  switch (info.type) {
    case FieldInfo::Type::kAny:
      return ShapeOf(body, name);
    case FieldInfo::Type::kBoolean:
      return {{"type", "boolean"}};
    case FieldInfo::Type::kString:
      if (name == "model") return {{"type", "string"}, {"description", kModelText}};
      return {{"type", "string"}};
    case FieldInfo::Type::kInteger:
      schema["type"] = "integer";
      if (std::abs(info.low) < kExact) schema["minimum"] = static_cast<int64_t>(info.low);
      if (std::abs(info.high) < kExact) schema["maximum"] = static_cast<int64_t>(info.high);
      return schema;
    case FieldInfo::Type::kNumber:
      return {{"type", "number"}, {"minimum", info.low}, {"maximum", info.high}};
  }
  return schema;
}

Json BodySchema(const FieldTable& table, std::initializer_list<const char*> required,
                std::string_view body = {}) {
  Json schema = {{"type", "object"}, {"properties", Json::object()}};
  for (const auto& [name, info] : table) schema["properties"][name] = FieldSchema(body, name, info);
  if (required.size() > 0) schema["required"] = required;
  return schema;
}

Json Schemas() {
  return {{"ChatRequest", BodySchema(ChatFields(), {"messages"})},
          {"CompletionRequest", BodySchema(CompletionFields(), {"prompt"})},
          {"ResponsesRequest", BodySchema(ResponsesFields(), {"input"})},
          {"MessagesRequest", BodySchema(MessagesFields(), {"messages"})},
          {"TokenizeRequest", BodySchema(TokenizeFields(), {})},
          {"DetokenizeRequest", BodySchema(DetokenizeFields(), {"tokens"})},
          {"EmbeddingsRequest", BodySchema(EmbeddingsFields(), {"input"}, "embeddings")},
          {"RerankRequest", BodySchema(RerankFields(), {"query", "documents"}, "rerank")},
          {"VectorStoreRequest", BodySchema(StoreCreationFields(), {}, "store")},
          {"StoreFileRequest", BodySchema(StoreFileFields(), {"file_id", "text"}, "store")},
          {"StoreFileBatchRequest", BodySchema(StoreFileBatchFields(), {"files"}, "store")},
          {"StoreDocumentsRequest", BodySchema(StoreDocumentsFields(), {"documents"}, "store")},
          {"StoreSearchRequest", BodySchema(StoreSearchFields(), {"query"}, "store")},
          {"AttentionRequest",
           {{"type", "object"},
            {"properties", {{"tokens", {{"type", "integer"}, {"minimum", 1}}}}},
            {"required", {"tokens"}}}},
          {"MeasureRequest",
           {{"type", "object"},
            {"properties",
             {{"switches", {{"type", "array"}, {"items", {{"type", "string"}}}}},
              {"minutes", {{"type", "number"}, {"minimum", 0}}}}},
            {"required", {"switches"}}}},
          {"Error", ErrorShape()}};
}

Json Ref(std::string_view name) { return {{"$ref", "#/components/schemas/" + std::string(name)}}; }

// The parameters that `path` names: "{id}".
Json PathParameters(std::string_view path) {
  Json parameters = Json::array();
  for (size_t at = path.find('{'); at != std::string_view::npos; at = path.find('{', at + 1)) {
    const std::string name(path.substr(at + 1, path.find('}', at) - at - 1));
    parameters.push_back(
        {{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
  }
  return parameters;
}

Json OperationJson(const ApiRoute& route, std::string_view path, const Operation* known) {
  Json operation;
  if (known != nullptr) operation["summary"] = std::string(known->summary);
  if (Json parameters = PathParameters(path); !parameters.empty()) {
    operation["parameters"] = std::move(parameters);
  }
  if (known != nullptr && !known->body.empty()) {
    operation["requestBody"] = {
        {"required", true}, {"content", {{"application/json", {{"schema", Ref(known->body)}}}}}};
  }
  Json content = {{"application/json", Json::object()}};
  if (known != nullptr && known->streams) content["text/event-stream"] = Json::object();
  if (route.path == "/metrics") content = {{"text/plain", Json::object()}};
  if (route.path == "/") content = {{"text/html", Json::object()}};
  operation["responses"] = {
      {"200", {{"description", "The answer"}, {"content", std::move(content)}}},
      {"default",
       {{"description", "A refusal or a failure"},
        {"content", {{"application/json", {{"schema", Ref("Error")}}}}}}}};
  if (!route.needs_key) operation["security"] = Json::array();
  return operation;
}

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(c | 0x20);  // letters only
  return text;
}

}  // namespace

std::string OpenApiJson(std::span<const ApiRoute> routes, std::string_view version) {
  Json document = {{"openapi", "3.1.0"},
                   {"info", {{"title", "Millrace"}, {"version", std::string(version)}}}};
  document["security"] = Json::array({{{"key", Json::array()}}});
  const auto add = [&](const ApiRoute& route, const std::string& path, const Operation* known) {
    document["paths"][path][Lower(route.method)] = OperationJson(route, path, known);
  };
  for (const ApiRoute& route : routes) {
    if (route.path == kStoreRoute) {
      for (const Operation& below : kStoreOperations) {
        if (below.method == route.method) add(route, std::string(below.path), &below);
      }
      continue;
    }
    std::string path = route.path;
    if (path.ends_with('*')) path = path.substr(0, path.size() - 1) + "{id}";
    add(route, path, Find(route));
  }
  document["components"]["schemas"] = Schemas();
  document["components"]["securitySchemes"]["key"] = {{"type", "http"}, {"scheme", "bearer"}};
  return Dump(document);
}

}  // namespace millrace
