#include "openai_api/openapi_shapes.h"

#include <string>
#include <utility>

namespace millrace::openai_internal {
namespace {

// Of OpenAI's fields that ask for what is not offered: only values that ask for nothing are taken.
constexpr std::string_view kNothing = R"({"enum": [null, false, [], {}]})";

constexpr std::pair<std::string_view, std::string_view> kShapes[] = {
    {"messages", R"({"type": "array", "minItems": 1, "items": {"type": "object",
      "required": ["role"], "properties": {"role": {"enum": ["system", "developer", "user",
      "assistant", "tool"]}, "content": {"anyOf": [{"type": "string"}, {"type": "array"},
      {"type": "null"}]}}}})"},
    {"prompt", R"({"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1,
      "items": {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0},
      {"type": "array", "items": {"type": "integer", "minimum": 0}}]}}]})"},
    {"input", R"({"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1,
      "items": {"type": "object"}}]})"},
    {"system", R"({"anyOf": [{"type": "string"}, {"type": "array",
      "items": {"type": "object"}}]})"},
    {"stop", R"({"anyOf": [{"type": "string"}, {"type": "array", "maxItems": 4,
      "items": {"type": "string", "minLength": 1}}]})"},
    {"stop_sequences", R"({"type": "array", "maxItems": 4,
      "items": {"type": "string", "minLength": 1}})"},
    {"logit_bias", R"({"type": "object",
      "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100}})"},
    {"stream_options", R"({"type": "object",
      "properties": {"include_usage": {"type": "boolean"}}})"},
    {"response_format", R"({"type": "object", "required": ["type"],
      "properties": {"type": {"type": "string"}}})"},
    {"tools", R"({"type": "array", "maxItems": 128, "items": {"type": "object",
      "properties": {"type": {"type": "string"}, "function": {"type": "object",
      "required": ["name"], "properties": {"name": {"type": "string",
      "pattern": "^[a-zA-Z0-9_-]{1,64}$"}, "description": {"type": "string"},
      "parameters": {"type": "object"}, "strict": {"type": "boolean"}}},
      "name": {"type": "string"}, "input_schema": {"type": "object"}}}})"},
    {"output_config", R"({"type": "object", "properties": {"format": {"anyOf": [{"type": "null"},
      {"type": "object", "required": ["type", "schema"], "properties": {
      "type": {"const": "json_schema"}, "schema": {"type": "object"}}}]}}})"},
    {"output_format", R"({"anyOf": [{"type": "null"}, {"type": "object",
      "required": ["type", "schema"], "properties": {"type": {"const": "json_schema"},
      "schema": {"type": "object"}}}]})"},
    {"tool_choice", R"({"anyOf": [{"enum": ["auto", "none", "required"]},
      {"type": "object", "required": ["type"], "properties": {"type": {"enum": ["function",
      "allowed_tools", "auto", "none", "any", "tool"]}}}]})"},
    {"reasoning_format", R"({"enum": ["auto", "none", "deepseek"]})"},
    {"tokens", R"({"type": "array", "items": {"type": "integer", "minimum": 0}})"},
    {"documents", R"({"type": "array", "items": {"anyOf": [{"type": "string"},
      {"type": "object", "properties": {"id": {"type": "string"}, "title": {"type": "string"},
      "text": {"type": "string"}}}]}})"},
    {"embeddings.input", R"({"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1,
      "maxItems": 2048, "items": {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1,
      "items": {"type": "integer", "minimum": 0}}]}}, {"type": "array", "minItems": 1,
      "items": {"type": "integer", "minimum": 0}}]})"},
    {"rerank.documents", R"({"type": "array", "minItems": 1, "maxItems": 2048, "items": {"anyOf": [
      {"type": "string"}, {"type": "object", "required": ["text"], "properties": {
      "text": {"type": "string"}}}]}})"},
    {"store.documents", R"({"type": "array", "minItems": 1, "items": {"type": "object",
      "required": ["id", "text"], "properties": {"id": {"type": "string", "minLength": 1},
      "title": {"type": "string"}, "text": {"type": "string"}}}})"},
    {"store.files", R"({"type": "array", "minItems": 1, "items": {"type": "object",
      "required": ["file_id", "text"], "properties": {"file_id": {"type": "string", "minLength": 1},
      "title": {"type": "string"}, "text": {"type": "string"}}}})"},
    {"store.query", R"({"anyOf": [{"type": "string", "minLength": 1}, {"type": "array",
      "minItems": 1, "items": {"type": "string"}}]})"},
    {"store.attributes", kNothing},
    {"store.chunking_strategy", kNothing},
    {"store.expires_after", kNothing},
    {"store.file_ids", kNothing},
    {"store.filters", kNothing},
    {"store.metadata", kNothing},
    {"store.ranking_options", kNothing},
    {"store.rewrite_query", kNothing},
    {"chat_template_kwargs", R"({"type": "object"})"},
    {"include", R"({"type": "array", "items": {"type": "string"}})"},
    {"text", R"({"type": "object", "properties": {"format": {"type": "object"}}})"},
    {"thinking", R"({"type": "object", "required": ["type"],
      "properties": {"type": {"enum": ["enabled", "disabled", "adaptive"]}}})"},
    {"metadata", R"({"type": "object"})"},
    {"reasoning", R"({"type": "object"})"},
    {"millrace", R"({"type": "object", "properties": {
      "prefix_cache": {"enum": ["on", "off", true, false]}, "pin": {"type": "boolean"},
      "priority": {"anyOf": [{"enum": ["low", "normal", "high"]}, {"type": "integer",
      "minimum": -2, "maximum": 2}]}, "deadline_ms": {"type": "integer", "minimum": 1,
      "maximum": 86400000}, "speculate": {"enum": ["auto", "off", "lookup", "suffix", "draft"]},
      "explain": {"type": "boolean"}, "reduce": {"anyOf": [{"type": "string"}, {"type": "object",
      "properties": {"top": {"type": "integer", "minimum": 1, "maximum": 1000},
      "token_budget": {"type": "integer", "minimum": 1}, "sentences": {"type": "boolean"},
      "prune": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
      "order": {"enum": ["document", "given", "relevance", "reuse"]}}}]},
      "store": {"type": "string"}}})"},
};

}  // namespace

Json ShapeOf(std::string_view body, std::string_view name) {
  const std::string own = std::string(body) + "." + std::string(name);
  for (const std::string_view wanted : {std::string_view(own), name}) {
    for (const auto& [field, shape] : kShapes) {
      if (field == wanted) return Json::parse(shape);
    }
  }
  return Json::object();
}

// OpenAI's shape; /v1/messages has Anthropic's, which has type and message in the same place.
Json ErrorShape() {
  return Json::parse(R"({"type": "object", "required": ["error"], "properties": {"error":
    {"type": "object", "required": ["message", "type"], "properties": {
    "message": {"type": "string"}, "type": {"type": "string"},
    "param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]}}}}})");
}

}  // namespace millrace::openai_internal
