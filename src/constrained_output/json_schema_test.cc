#include "constrained_output/json_schema.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "constrained_output/test_support.h"

namespace millrace {
namespace {

using testing::HasSubstr;

void ExpectAll(std::string_view schema, const std::vector<const char*>& allowed,
               const std::vector<const char*>& forbidden) {
  const auto grammar = SchemaOf(schema);
  ASSERT_NE(grammar, nullptr);
  for (const char* text : allowed) EXPECT_TRUE(Accepts(grammar, text)) << schema << ": " << text;
  for (const char* text : forbidden) EXPECT_FALSE(Accepts(grammar, text)) << schema << ": " << text;
}

TEST(JsonSchema, Types) {
  ExpectAll(R"({"type": "null"})", {"null"}, {"true", "0", ""});
  ExpectAll(R"({"type": ["boolean", "null"]})", {"true", "false", "null"}, {"\"true\"", "1"});
  ExpectAll("true", {"null", "[1, {\"a\": \"\"}]", "{}"}, {"", "[1,]", "{\"a\"}"});
  ExpectAll("{}", {"3", "\"x\""}, {"x"});
  ExpectAll(R"({"type": "array"})", {"[]", "[1, \"a\", [null]]"}, {"{}", "[1 2]"});
  ExpectAll(R"({"type": "object"})", {"{}", R"({"a": {"b": [1]}})"}, {"[]", R"({"a": })"});
}

TEST(JsonSchema, StringsAndTheirSpellings) {
  ExpectAll(R"({"type": "string"})",
            {R"("")", R"("a\n\"\\\/\u00e9")", "\"\xC3\xA9\"", R"("\ud83d\ude00")"},
            {"\"\n\"", R"("\x")", R"("\ud83d")", R"("\ude00")", R"("\u12")", "\"\xC3\""});
  ExpectAll(R"({"type": "string", "minLength": 2, "maxLength": 3})",
            {R"("ab")", R"("a\u0062c")", "\"\xC3\xA9\xF0\x9F\x98\x80\"", R"("\ud83d\ude00x")"},
            {R"("a")", R"("abcd")", R"("")"});
  ExpectAll(R"({"type": "string", "pattern": "^[a-c]+$"})", {R"("abc")"}, {R"("")", R"("abd")"});
  ExpectAll(R"({"type": "string", "pattern": "b"})", {R"("abc")", R"("b")"}, {R"("ac")"});
  ExpectAll(R"({"type": "string", "pattern": "^\"\\n$"})", {R"("\"\n")"}, {"\"\"\n\""});
  ExpectAll(R"({"type": "string", "pattern": "^a*$", "minLength": 1, "maxLength": 2})",
            {R"("a")", R"("aa")"}, {R"("")", R"("aaa")", R"("b")"});
}

TEST(JsonSchema, Formats) {
  ExpectAll(R"({"type": "string", "format": "date"})",
            {R"("2026-11-28")", R"("2024-02-29")", R"("2000-02-29")", R"("0101-01-01")"},
            {R"("2026-02-29")", R"("1900-02-29")", R"("2026-13-01")", R"("2026-04-31")"});
  ExpectAll(R"({"format": "date-time"})", {R"("2026-11-28T05:03:19Z")"},
            {R"("2026-11-28")", R"("2026-11-28T25:00:00Z")"});
  ExpectAll(R"({"format": "uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"}, {R"("123")"});
  ExpectAll(R"({"format": "ipv4"})", {R"("127.0.0.1")"}, {R"("256.0.0.1")", R"("1.2.3")"});
  ExpectAll(R"({"format": "ipv6"})", {R"("::1")", R"("fe80::1")"}, {R"(":::")"});
  ExpectAll(R"({"format": "email"})", {R"("a.b@example.com")"}, {R"("a@b")", R"("@x.y")"});
  ExpectAll(R"({"format": "duration"})", {R"("P1DT2H")", R"("PT5S")", R"("P3W")"}, {R"("P")"});
  ExpectAll(R"({"format": "time"})", {R"("23:59:59.5+01:00")"}, {R"("24:00:00Z")"});
  ExpectAll(R"({"format": "hostname"})", {R"("a-b.example")"}, {R"("-a")"});
  ExpectAll(R"({"format": "uri"})", {R"("https://example.com/a?b=c#d")"}, {R"("example")"});
  EXPECT_THAT(SchemaError(R"({"type": "string", "format": "credit-card"})"),
              HasSubstr("'format' at '#' is 'credit-card'"));
}

TEST(JsonSchema, ObjectsInOrder) {
  const std::string_view schema = R"({"type": "object", "properties": {"a": {"type": "integer"},
      "b": {"type": "null"}, "c\"": {"const": 1}}, "required": ["a"],
      "additionalProperties": false})";
  ExpectAll(schema,
            {R"({"a":1})", R"({"a": 1, "b": null})", R"({ "a":1,"c\"":1 })",
             "{\n  \"a\": 1,\n  \"b\": null\n}"},
            {"{}", R"({"b": null})", R"({"b": null, "a": 1})", R"({"a": 1, "d": 2})",
             R"({"a": 1,})", R"({"a": 1.5})", R"({"a": 1}})", R"({,"a": 1})"});
}

TEST(JsonSchema, OtherProperties) {
  ExpectAll(
      R"({"type": "object", "properties": {"ab": {"type": "null"}},
               "additionalProperties": {"type": "integer"}})",
      {"{}", R"({"a": 1})", R"({"abc": 1})", R"({"ab": null, "x": 2, "y": 3})", R"({"x": 2})"},
      {R"({"ab": 1})", R"({"a": null})", R"({"x": 1, "ab": null})"});
  ExpectAll(R"({"type": "object", "patternProperties": {"^x": {"type": "integer"}},
               "additionalProperties": {"type": "null"}})",
            {R"({"x1": 1, "y": null})", "{}"}, {R"({"x1": null})", R"({"y": 1})"});
  ExpectAll(R"({"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}})", {R"({"abc": 1})"},
            {R"({"A": 1})"});
  ExpectAll(R"({"type": "object", "required": ["z"]})", {R"({"z": 1})", R"({"z": 1, "a": 2})"},
            {"{}", R"({"a": 2})"});
  ExpectAll(R"({"type": "object", "maxProperties": 2, "minProperties": 1})",
            {R"({"a": 1})", R"({"a": 1, "b": 2})"}, {"{}", R"({"a": 1, "b": 2, "c": 3})"});
  ExpectAll(R"({"properties": {"a": true, "b": true, "c": true}, "minProperties": 2})",
            {R"({"a": 1, "c": 2})", R"({"a": 1, "b": 1, "c": 2})"}, {R"({"b": 1})", "{}"});
}

TEST(JsonSchema, Arrays) {
  ExpectAll(R"({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3})",
            {"[1]", "[1, 2]", "[ 1,2,3 ]"}, {"[]", "[1,2,3,4]", "[1.5]", "[1,]"});
  ExpectAll(R"({"prefixItems": [{"const": "a"}, {"type": "null"}], "items": {"type": "boolean"}})",
            {"[]", R"(["a"])", R"(["a", null, true, false])"}, {R"(["b"])", R"(["a", true])"});
  ExpectAll(R"({"prefixItems": [{"const": 1}], "items": false, "minItems": 1})", {"[1]"},
            {"[]", "[1, 1]"});
  ExpectAll(R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]"});
  ExpectAll(R"({"type": "array", "items": {"type": "integer"}, "minItems": 2})", {"[1,2,3,4,5]"},
            {"[1]"});
}

TEST(JsonSchema, EnumAndConst) {
  ExpectAll(R"({"enum": ["a", 1, null, {"x": [1, 2]}, 1.5]})",
            {R"("a")", "1", "null", R"({"x": [1, 2]})", R"({"x":[1,2]})", "1.5"},
            {R"("b")", "2", R"({"x": [2, 1]})"});
  ExpectAll(R"({"type": "string", "enum": ["a", 1]})", {R"("a")"}, {"1"});
  ExpectAll(R"({"enum": [1, 5, 9, "long", "no"], "minimum": 4, "minLength": 3})",
            {"5", "9", R"("long")"}, {"1", R"("no")"});
  ExpectAll(R"({"allOf": [{"enum": [1, 2]}, {"enum": [2, 3]}]})", {"2"}, {"1", "3"});
}

TEST(JsonSchema, Combinations) {
  ExpectAll(R"({"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}]})",
            {"1", R"("a")"}, {R"("ab")", "null"});
  ExpectAll(R"({"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"],
               "anyOf": [{"properties": {"k": {"const": "a"}}},
                         {"properties": {"k": {"const": "b"}, "n": {"type": "null"}}}]})",
            {R"({"k": "a"})", R"({"k": "b"})", R"({"k": "b", "n": null})"},
            {R"({"k": "c"})", R"({"k": "a", "n": null})"});
  ExpectAll(R"({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}]})", {"3", "5"},
            {"2", "6", "3.5"});
  ExpectAll(R"({"allOf": [{"properties": {"a": {"type": "number"}}, "required": ["a"]},
                          {"properties": {"a": {"minimum": 2}, "b": {"type": "null"}}}]})",
            {R"({"a": 2.5})", R"({"a": 3, "b": null})"}, {R"({"a": 1})", R"({"b": null})"});
  ExpectAll(
      R"({"oneOf": [{"type": "object", "properties": {"t": {"const": "x"}}, "required": ["t"]},
                          {"type": "object", "properties": {"t": {"const": "y"}}, "required": ["t"]},
                          {"type": "null"}]})",
      {R"({"t": "x"})", R"({"t": "y"})", "null"}, {R"({"t": "z"})"});
  EXPECT_THAT(SchemaError(R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})"),
              HasSubstr("alternatives 0 and 1 under 'oneOf'"));
  // An answer of the first would be one of the second, which allows more properties.
  EXPECT_THAT(SchemaError(R"({"oneOf": [{"properties": {"a": {}, "b": {}}, "required": ["a", "b"]},
                                        {"properties": {"b": {}}, "required": ["b"]}]})"),
              HasSubstr("under 'oneOf'"));
}

TEST(JsonSchema, References) {
  ExpectAll(R"({"$defs": {"list": {"type": "object", "properties": {"v": {"type": "integer"},
      "next": {"anyOf": [{"$ref": "#/$defs/list"}, {"type": "null"}]}}, "required": ["v", "next"],
      "additionalProperties": false}}, "$ref": "#/$defs/list"})",
            {R"({"v": 1, "next": null})", R"({"v": 1, "next": {"v": 2, "next": null}})"},
            {R"({"v": 1})", R"({"v": 1, "next": {"v": 2}})"});
  ExpectAll(R"({"properties": {"child": {"$ref": "#"}}, "additionalProperties": false})",
            {"{}", R"({"child": {"child": {}}})"}, {R"({"child": 1})"});
  ExpectAll(R"({"definitions": {"a/b~c": {"const": 1}}, "$ref": "#/definitions/a~1b~0c"})", {"1"},
            {"2"});
  EXPECT_THAT(SchemaError(R"({"$ref": "#/$defs/missing"})"), HasSubstr("not a place within"));
  EXPECT_THAT(SchemaError(R"({"$ref": "https://example.com/schema"})"),
              HasSubstr("only references"));
  EXPECT_THAT(SchemaError(R"({"$ref": "#"})"), HasSubstr("refers to itself without end"));
  EXPECT_THAT(SchemaError(R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})"), HasSubstr("itself"));
}

TEST(JsonSchema, WaysWithoutAnEndAreNotOffered) {
  ExpectAll(R"({"anyOf": [{"type": "object", "properties": {"x": {"$ref": "#/anyOf/0"}},
                           "required": ["x"]}, {"type": "integer"}]})",
            {"1"}, {"{}"});
  const auto grammar = SchemaOf(R"({"anyOf": [{"type": "object", "properties":
      {"x": {"$ref": "#/anyOf/0"}}, "required": ["x"]}, {"type": "integer"}]})");
  OutputMatcher matcher(grammar);
  EXPECT_FALSE(TakeText(matcher, "{"));
}

TEST(JsonSchema, UnsupportedKeywordsAreNamed) {
  for (const char* keyword : {"not", "if", "dependentRequired", "contains", "unevaluatedProperties",
                              "$dynamicRef", "minContains", "mistyped"}) {
    EXPECT_THAT(SchemaError(fmt::format(R"({{"properties": {{"a": {{"{}": {{}}}}}}}})", keyword)),
                HasSubstr(fmt::format("the keyword '{}' at '#/properties/a'", keyword)));
  }
  EXPECT_THAT(SchemaError(R"({"type": "array", "uniqueItems": true})"), HasSubstr("'uniqueItems'"));
  EXPECT_THAT(SchemaError(R"({"type": "strnig"})"), HasSubstr("'type' at '#' must be"));
  EXPECT_THAT(SchemaError(R"({"pattern": "("})"), HasSubstr("without its ')'"));
  EXPECT_THAT(SchemaError(R"x({"pattern": "(?=a)"})x"), HasSubstr("not supported"));
  EXPECT_THAT(SchemaError(R"({"type": "string", "minLength": -1})"), HasSubstr("'minLength'"));
  EXPECT_THAT(SchemaError(R"({"required": "a"})"), HasSubstr("array of strings"));
  EXPECT_THAT(SchemaError("[]"), HasSubstr("must be an object"));
  EXPECT_THAT(SchemaError("{"), HasSubstr("not valid JSON"));
  EXPECT_THAT(SchemaError("false"), HasSubstr("no text at all"));
  EXPECT_THAT(SchemaError(R"({"enum": []})"), HasSubstr("no text at all"));
}

TEST(JsonSchema, HostileSchemasAreRefusedInTime) {
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_THAT(SchemaError(std::string(60'000, '[')), HasSubstr("deeper than 64"));
  std::string deep;
  for (int i = 0; i < 5000; ++i) deep += R"({"items":)";
  EXPECT_THAT(SchemaError(deep), HasSubstr("deeper than 64"));
  EXPECT_THAT(SchemaError(R"({"type": "string", "maxLength": 100000000})"), HasSubstr("29998"));
  EXPECT_THAT(SchemaError(R"({"type": "array", "minItems": 900000000})"), HasSubstr("30000"));
  EXPECT_THAT(SchemaError(R"({"type": "string", "pattern": "^(((a{1000}){1000}){1000})$"})"),
              HasSubstr("too large"));
  EXPECT_THAT(SchemaError(R"({"type": "string", "pattern": "^(a|b)*a(a|b){60}$",
                              "minLength": 100, "maxLength": 20000})"),
              HasSubstr("too large"));
  // Alternatives within alternatives would multiply.
  std::string many = R"({"allOf": [)";
  for (int i = 0; i < 40; ++i) {
    many += fmt::format(R"({}{{"anyOf": [{{"required": ["a{}"]}}, {{"required": ["b{}"]}}]}})",
                        i > 0 ? "," : "", i, i);
  }
  EXPECT_THAT(SchemaError(many + "]}"), HasSubstr("too large"));
  std::string chain = R"({"$defs": {)";
  for (int i = 0; i < 1000; ++i) {
    chain += fmt::format(R"("d{}": {{"$ref": "#/$defs/d{}"}}, )", i, i + 1);
  }
  EXPECT_THAT(SchemaError(chain + R"("d1000": {"type": "null"}}, "$ref": "#/$defs/d0"})"),
              HasSubstr("chain of more than 200"));
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begun;
  EXPECT_LT(taken.count(), 10.0);  // of a slow machine under sanitizers
}

}  // namespace
}  // namespace millrace
