#include "answer_parts/answer_pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;
using PatternKind = TextPattern::Kind;

TextPattern Literal(std::string text) {
  return TextPattern::Of(PatternKind::kLiteral, std::move(text));
}
TextPattern Marker(std::string_view text) {
  return TextPattern::Of(PatternKind::kMarker, std::string(text));
}

// References within a schema that becomes part of another lead to its place there.
void MoveReferences(Json& schema, const std::string& place) {
  if (!schema.is_structured()) return;
  for (auto item = schema.begin(); item != schema.end(); ++item) {
    const bool named = schema.is_object();
    if (named && item.key() == "$ref" && item->is_string()) {
      const auto& target = item->get_ref<const std::string&>();
      if (target.starts_with('#')) *item = place + target.substr(1);
    } else if (!named || (item.key() != "enum" && item.key() != "const")) {
      MoveReferences(*item, place);
    }
  }
}

Json ArgumentsOf(const ToolFunction& function) {
  Json schema = function.parameters.empty() ? Json::object()
                                            : Json::parse(function.parameters, nullptr, false);
  if (schema.is_object() && schema.empty()) schema["properties"] = Json::object();
  if (schema.is_object() && !schema.contains("type") && !schema.contains("$ref")) {
    schema["type"] = "object";
  }
  return schema;
}

// A call of any of the functions; `place`: of this schema in the whole.
Json CallSchema(const AnswerRules& rules, const std::string& place) {
  const char* key = rules.format == ToolFormat::kLlama3 ? "parameters" : "arguments";
  Json calls = Json::array();
  for (size_t i = 0; i < rules.functions.size(); ++i) {
    const ToolFunction& function = rules.functions[i];
    Json arguments = {{"type", "object"}};
    if (rules.must_call || function.strict) {
      arguments = ArgumentsOf(function);
      MoveReferences(arguments, fmt::format("#{}/anyOf/{}/properties/{}", place, i, key));
    }
    Json call = {{"type", "object"}, {"properties", Json::object()}};
    call["properties"]["name"] = {{"const", function.name}};
    call["properties"][key] = std::move(arguments);
    call["required"] = {"name", key};
    call["additionalProperties"] = false;
    calls.push_back(std::move(call));
  }
  Json schema;
  schema["anyOf"] = std::move(calls);
  return schema;
}

TextPattern SchemaPattern(const Json& schema) {
  return TextPattern::Of(PatternKind::kJsonSchema,
                         schema.dump(-1, ' ', false, Json::error_handler_t::replace));
}

TextPattern CallArray(const AnswerRules& rules) {
  Json array = {{"type", "array"}};
  array["items"] = CallSchema(rules, "/items");
  array["minItems"] = 1;
  array["maxItems"] = rules.parallel ? kMaxParallelCalls : 1;
  return SchemaPattern(array);
}

TextPattern OneHermesCall(const AnswerRules& rules) {
  return TextPattern::Sequence({Marker("<tool_call>"), Literal("\n"),
                                SchemaPattern(CallSchema(rules, "")), Literal("\n"),
                                Marker("</tool_call>")});
}

// Between two members of Qwen Coder's and GLM's calls stand line ends, as their templates show
// them.
struct Tags {
  TextPattern before_key, before_value, behind_value, end;
};
Tags TagsOf(ToolFormat format) {
  if (format == ToolFormat::kQwenCoder) {
    return {Literal("<parameter="), Literal(">\n"), Literal("\n</parameter>\n"),
            Literal("</parameter>")};
  }
  return {Marker("<arg_key>"),
          TextPattern::Sequence({Marker("</arg_key>"), Literal("\n"), Marker("<arg_value>")}),
          TextPattern::Sequence({Marker("</arg_value>"), Literal("\n")}), Literal("</arg_value>")};
}

// Any arguments, where the schema need not be kept.
TextPattern FreeMembers(const Tags& tags) {
  const TextPattern key = TextPattern::Of(PatternKind::kRegex, R"([^<>\s]([^<>\r\n]*[^<>\s])?)");
  return TextPattern::Repeat(
      TextPattern::Sequence({tags.before_key, key, tags.before_value,
                             TextPattern::Without(tags.end.text), tags.behind_value}),
      0, std::nullopt);
}

TextPattern OneTaggedCall(const AnswerRules& rules, const ToolFunction& function) {
  TextPattern arguments;
  if (rules.must_call || function.strict) {
    arguments = ArgumentsPattern(rules.format, function);
  } else if (rules.format == ToolFormat::kMistralArgs) {
    arguments = SchemaPattern({{"type", "object"}});
  } else {
    arguments = FreeMembers(TagsOf(rules.format));
  }
  switch (rules.format) {
    case ToolFormat::kMistralArgs: {
      const TextPattern id = TextPattern::Sequence(
          {Marker("[CALL_ID]"), TextPattern::Of(PatternKind::kRegex, "[0-9A-Za-z]{9}")});
      return TextPattern::Sequence({Marker(CallMarker(rules.format)), Literal(function.name),
                                    TextPattern::Optional(id), Marker("[ARGS]"), arguments});
    }
    case ToolFormat::kQwenCoder:
      return TextPattern::Sequence({Marker(CallMarker(rules.format)),
                                    Literal("\n<function=" + function.name + ">\n"), arguments,
                                    Literal("</function>\n"), Marker("</tool_call>")});
    default:
      return TextPattern::Sequence({Marker(CallMarker(rules.format)), Literal(function.name + "\n"),
                                    arguments, Marker("</tool_call>")});
  }
}

TextPattern OneCall(const AnswerRules& rules) {
  if (!IsTagged(rules.format)) return OneHermesCall(rules);
  std::vector<TextPattern> calls;
  for (const ToolFunction& function : rules.functions) {
    calls.push_back(OneTaggedCall(rules, function));
  }
  return TextPattern::Choice(std::move(calls));
}

// The answer is calls from its beginning to its end.
TextPattern Calls(const AnswerRules& rules) {
  const auto several = [&](const TextPattern& one, const char* between) {
    return TextPattern::Sequence(
        {one, TextPattern::Repeat(TextPattern::Sequence({Literal(between), one}), 0,
                                  rules.parallel ? kMaxParallelCalls - 1 : 0)});
  };
  switch (rules.format) {
    case ToolFormat::kHermes:
    case ToolFormat::kQwenCoder:
      return several(OneCall(rules), "\n");
    case ToolFormat::kGlm:  // whose answers begin a line
      return TextPattern::Sequence(
          {TextPattern::Optional(Literal("\n")), several(OneCall(rules), "\n")});
    case ToolFormat::kMistralArgs:
      return several(OneCall(rules), "");
    case ToolFormat::kLlama3:
      return TextPattern::Sequence({TextPattern::Optional(Marker(CallMarker(rules.format))),
                                    several(SchemaPattern(CallSchema(rules, "")), "; ")});
    case ToolFormat::kMistral:
      return TextPattern::Sequence({Marker(CallMarker(rules.format)),
                                    TextPattern::Optional(Literal(" ")), CallArray(rules)});
    case ToolFormat::kJson:
      break;
  }
  const TextPattern one = SchemaPattern(CallSchema(rules, ""));
  return rules.parallel ? TextPattern::Choice({one, CallArray(rules)}) : one;
}

// Text as the model likes, until a call begins.
TextPattern CallsWithinText(const AnswerRules& rules) {
  const std::string_view marker = CallMarker(rules.format);
  if (EndsWithTag(rules.format) || rules.format == ToolFormat::kMistralArgs) {
    std::string begins = EscapedForRegex(std::string(marker));
    const std::string_view bare = BareCallMarker(rules.format);
    if (!bare.empty()) begins += "|" + EscapedForRegex(std::string(bare));
    const TextPattern text = TextPattern::Of(PatternKind::kNoMatch, begins);
    std::optional<int64_t> most = kMaxParallelCalls;
    if (!rules.parallel) most = 1;
    return TextPattern::Sequence(
        {TextPattern::Repeat(TextPattern::Sequence({text, OneCall(rules)}), 0, most), text});
  }
  if (rules.format == ToolFormat::kMistral) {
    const TextPattern text = TextPattern::Without(std::string(marker));
    return TextPattern::Sequence({text, TextPattern::Optional(Calls(rules))});
  }
  // Here a call is what the answer begins with.
  std::string begins = R"re(^\s*\[?\s*\{\s*"(?:name|type|arguments|parameters)"\s*:)re";
  if (!marker.empty()) begins += "|" + EscapedForRegex(std::string(marker));
  return TextPattern::Choice({TextPattern::Of(PatternKind::kNoMatch, begins), Calls(rules)});
}

}  // namespace

std::string ArgumentsSchema(const ToolFunction& function) {
  return ArgumentsOf(function).dump(-1, ' ', false, Json::error_handler_t::replace);
}

TextPattern ArgumentsPattern(ToolFormat format, const ToolFunction& function) {
  const Json schema = ArgumentsOf(function);
  if (!IsTagged(format) || format == ToolFormat::kMistralArgs) return SchemaPattern(schema);
  TextPattern members = SchemaPattern(schema);
  members.kind = PatternKind::kTaggedMembers;
  const Tags tags = TagsOf(format);
  members.parts = {tags.before_key, tags.before_value, tags.behind_value, tags.end};
  return members;
}

std::optional<TextPattern> PatternOfAnswer(const AnswerRules& rules) {
  const auto is_strict = [](const ToolFunction& function) { return function.strict; };
  if (rules.functions.empty()) return rules.content;
  if (rules.must_call) return Calls(rules);
  if (rules.content) return TextPattern::Choice({*rules.content, Calls(rules)});
  if (std::none_of(rules.functions.begin(), rules.functions.end(), is_strict)) return std::nullopt;
  return CallsWithinText(rules);
}

TextPattern BehindReasoning(const ReasoningMarkers& markers, ReasoningBlock block,
                            TextPattern answer) {
  const TextPattern space =
      TextPattern::Repeat(TextPattern::Choice({Literal("\n"), Literal(" ")}), 0, 4);
  TextPattern reasoned = TextPattern::Sequence(
      {TextPattern::Without(markers.close), Marker(markers.close), space, answer});
  if (block == ReasoningBlock::kOpen) return reasoned;
  reasoned.parts.insert(reasoned.parts.begin(), Marker(markers.open));
  return TextPattern::Choice({std::move(answer), std::move(reasoned)});
}

}  // namespace millrace
