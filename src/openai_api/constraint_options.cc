#include "openai_api/constraint_options.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "openai_api/request_parser.h"

namespace millrace {
namespace {

using openai_internal::Dump;
using openai_internal::Fields;
using openai_internal::Json;
using Kind = OutputConstraint::Kind;

class ConstraintReader {
 public:
  ConstraintReader(Fields& fields, OutputConstraint& constraint)
      : fields_(fields), constraint_(constraint) {}

  void ReadResponseFormat() {
    const Json* format = fields_.Find("response_format");
    if (format == nullptr) return;
    const std::string param = "response_format";
    if (!format->is_object() || !format->contains("type") || !(*format)["type"].is_string()) {
      return fields_.Fail(param, "'response_format' must be an object with a 'type'.",
                          "invalid_type");
    }
    const std::string type = (*format)["type"];
    if (type == "text") return;
    if (type == "json_object") return Set(Kind::kJsonObject, "", param);
    if (type != "json_schema") {
      return fields_.Fail(param + ".type",
                          "'response_format.type' must be text, json_object or json_schema.",
                          "invalid_value");
    }
    const auto found = format->find("json_schema");
    if (found == format->end() || !found->is_object() || !found->contains("schema")) {
      return fields_.Fail(param + ".json_schema",
                          "'response_format.json_schema' must be an object with a 'schema'.",
                          "missing_required_parameter");
    }
    Set(Kind::kJsonSchema, Dump((*found)["schema"]), param + ".json_schema.schema");
  }

  // One of the ways to constrain, under its name in structured_outputs.
  void Read(std::string_view way, const Json& value, const std::string& param) {
    if (value.is_null()) return;
    if (way == "json_object") {
      if (!value.is_boolean()) return WrongType(param, "true or false");
      if (value.get<bool>()) Set(Kind::kJsonObject, "", param);
      return;
    }
    if (way == "json") {
      if (!value.is_object() && !value.is_string() && !value.is_boolean()) {
        return WrongType(param, "a schema");
      }
      return Set(Kind::kJsonSchema, value.is_string() ? value.get<std::string>() : Dump(value),
                 param);
    }
    if (way == "choice") return ReadChoice(value, param);
    if (!value.is_string()) return WrongType(param, "a string");
    const auto text = value.get<std::string>();
    if (!text.empty()) Set(way == "regex" ? Kind::kRegex : Kind::kGbnf, text, param);
  }

  void ReadStructuredOutputs() {
    const Json* object = fields_.Find("structured_outputs");
    if (object == nullptr) return;
    if (!object->is_object()) return WrongType("structured_outputs", "an object");
    for (const auto& [name, value] : object->items()) {
      const std::string param = "structured_outputs." + name.substr(0, 100);
      bool known = false;
      for (const char* way : {"json", "regex", "choice", "grammar", "json_object"}) {
        known |= name == way;
      }
      if (known) {
        Read(name, value, param);
      } else if (!value.is_null()) {
        fields_.Fail(param,
                     fmt::format("'{}' is not supported: known are json, regex, choice, grammar "
                                 "and json_object.",
                                 param),
                     "unsupported_parameter");
      }
    }
  }

 private:
  void WrongType(const std::string& param, std::string_view what) {
    fields_.Fail(param, fmt::format("'{}' must be {}.", param, what), "invalid_type");
  }

  void Set(Kind kind, std::string text, const std::string& param) {
    if (constraint_.kind != Kind::kNone) {
      return fields_.Fail(param,
                          fmt::format("'{}' and '{}' cannot both say what the answer must look "
                                      "like: leave one out.",
                                      constraint_.param, param));
    }
    constraint_ = {.kind = kind, .text = std::move(text), .param = param};
  }

  void ReadChoice(const Json& value, const std::string& param) {
    if (!value.is_array() || value.empty()) return WrongType(param, "an array of strings");
    std::string pattern;
    for (const Json& choice : value) {
      if (!choice.is_string()) return WrongType(param, "an array of strings");
      if (!pattern.empty()) pattern += '|';
      pattern += "(?:";
      for (const char c : choice.get_ref<const std::string&>()) {
        if (std::string_view("^$\\.*+?()[]{}|/").find(c) != std::string_view::npos) pattern += '\\';
        pattern += c;
      }
      pattern += ')';
    }
    Set(Kind::kRegex, std::move(pattern), param);
  }

  Fields& fields_;
  OutputConstraint& constraint_;
};

}  // namespace

void ParseConstraintOptions(Fields& fields, GenerationOptions& options) {
  ConstraintReader reader(fields, options.constraint);
  reader.ReadResponseFormat();
  reader.ReadStructuredOutputs();
  constexpr std::pair<const char*, const char*> kFields[] = {{"grammar", "grammar"},
                                                             {"guided_json", "json"},
                                                             {"guided_regex", "regex"},
                                                             {"guided_choice", "choice"},
                                                             {"guided_grammar", "grammar"}};
  for (const auto& [field, way] : kFields) {
    if (const Json* value = fields.Find(field)) reader.Read(way, *value, field);
  }
}

}  // namespace millrace
