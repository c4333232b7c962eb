#include "openai_api/openapi_shapes.h"

#include <utility>

namespace millrace::openai_internal {
namespace {

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
    {"tools", R"({"type": "array", "items": {"type": "object"}})"},
    {"tokens", R"({"type": "array", "items": {"type": "integer", "minimum": 0}})"},
    {"documents", R"({"type": "array", "items": {"anyOf": [{"type": "string"},
      {"type": "object", "properties": {"id": {"type": "string"}, "title": {"type": "string"},
      "text": {"type": "string"}}}]}})"},
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
      "explain": {"type": "boolean"}, "reduce": {"type": "string"}, "store": {"type": "string"}}})"},
};

}  // namespace

Json ShapeOf(std::string_view name) {
  for (const auto& [field, shape] : kShapes) {
    if (field == name) return Json::parse(shape);
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
