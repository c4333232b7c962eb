// Schemas put together from every supported keyword, as the input's bytes choose: each compiles, or
// an error says why not; what is written along its masks is JSON in the end, and never a dead end.
// (grammar_fuzz.cc takes any bytes as a schema; nearly all of those are no JSON.)
#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/rng.h"
#include "constrained_output/output_grammar.h"

namespace {

using namespace millrace;
using nlohmann::json;

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  int Below(int n) { return size_ == 0 ? 0 : (--size_, *data_++ % n); }
  bool empty() const { return size_ == 0; }

 private:
  const uint8_t* data_;
  size_t size_;
};

const char* Name(Bytes& bytes) {
  constexpr const char* kNames[] = {"a", "b", "key with space", "\xC3\xA4", "", "\"\\\n", "type"};
  return kNames[bytes.Below(7)];
}

json Value(Bytes& bytes, int depth) {
  switch (bytes.Below(depth > 3 ? 6 : 8)) {
    case 0:
      return nullptr;
    case 1:
      return bytes.Below(2) == 1;
    case 2:
      return bytes.Below(200) - 100;
    case 3:
      return (bytes.Below(200) - 100) / 8.0;
    case 4:
      return bytes.Below(2) == 0 ? 1e20 : -1.5e-7;
    case 5:
      return Name(bytes);
    case 6: {
      json array = json::array();
      for (int n = bytes.Below(3); n > 0; --n) array.push_back(Value(bytes, depth + 1));
      return array;
    }
    default: {
      json object = json::object();
      for (int n = bytes.Below(3); n > 0; --n) object[Name(bytes)] = Value(bytes, depth + 1);
      return object;
    }
  }
}

json Schema(Bytes& bytes, int depth);

json Schemas(Bytes& bytes, int depth) {
  json list = json::array();
  for (int n = bytes.Below(4); n > 0; --n) list.push_back(Schema(bytes, depth + 1));
  return list;
}

void AddStringKeywords(Bytes& bytes, json& schema) {
  constexpr const char* kPatterns[] = {"^a+$", "[0-9]{2,4}", "(a|b)*c", "\\d\\D\\w",
                                       ".",    "^$",         "x$",      "[^\\x00-\\x7f]"};
  constexpr const char* kFormats[] = {"date-time", "date", "time", "email",
                                      "uuid",      "ipv4", "uri",  "unheard-of"};
  if (bytes.Below(2) == 1) schema["minLength"] = bytes.Below(9);
  if (bytes.Below(2) == 1) schema["maxLength"] = bytes.Below(12);
  if (bytes.Below(3) == 1) schema["pattern"] = kPatterns[bytes.Below(8)];
  if (bytes.Below(4) == 1) schema["format"] = kFormats[bytes.Below(8)];
}

void AddNumberKeywords(Bytes& bytes, json& schema) {
  for (const char* bound : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}) {
    if (bytes.Below(3) != 1) continue;
    schema[bound] =
        bytes.Below(2) == 0 ? json(bytes.Below(255) - 128) : json((bytes.Below(255) - 128) / 16.0);
  }
  if (bytes.Below(5) == 1) schema["multipleOf"] = bytes.Below(10);
}

void AddObjectKeywords(Bytes& bytes, json& schema, int depth) {
  schema["properties"] = json::object();
  for (int n = bytes.Below(4); n > 0; --n) {
    schema["properties"][Name(bytes)] = Schema(bytes, depth + 1);
  }
  if (bytes.Below(2) == 1) {
    schema["required"] = json::array();
    for (int n = bytes.Below(4); n > 0; --n) schema["required"].push_back(Name(bytes));
  }
  const int others = bytes.Below(4);
  if (others == 1) schema["additionalProperties"] = false;
  if (others == 2) schema["additionalProperties"] = Schema(bytes, depth + 1);
  if (bytes.Below(4) == 1) schema["minProperties"] = bytes.Below(4);
  if (bytes.Below(4) == 1) schema["maxProperties"] = bytes.Below(4);
}

void AddArrayKeywords(Bytes& bytes, json& schema, int depth) {
  if (bytes.Below(2) == 1) schema["items"] = Schema(bytes, depth + 1);
  if (bytes.Below(3) == 1) schema["prefixItems"] = Schemas(bytes, depth);
  if (bytes.Below(3) == 1) schema["minItems"] = bytes.Below(4);
  if (bytes.Below(3) == 1) schema["maxItems"] = bytes.Below(5);
}

json Schema(Bytes& bytes, int depth) {
  if (bytes.empty() || depth > 5) return true;
  json schema = json::object();
  switch (bytes.Below(12)) {
    case 0:
      return bytes.Below(2) == 1;
    case 1:
      schema["type"] = "string";
      AddStringKeywords(bytes, schema);
      break;
    case 2:
    case 3:
      schema["type"] = bytes.Below(2) == 0 ? "number" : "integer";
      AddNumberKeywords(bytes, schema);
      break;
    case 4:
    case 5:
      schema["type"] = "object";
      AddObjectKeywords(bytes, schema, depth);
      break;
    case 6:
      schema["type"] = "array";
      AddArrayKeywords(bytes, schema, depth);
      break;
    case 7:
      schema["enum"] = json::array();
      for (int n = bytes.Below(4); n > 0; --n) schema["enum"].push_back(Value(bytes, 0));
      break;
    case 8:
      schema["const"] = Value(bytes, 0);
      break;
    case 9:
      schema[bytes.Below(2) == 0 ? "anyOf" : "oneOf"] = Schemas(bytes, depth);
      break;
    case 10:
      schema["allOf"] = Schemas(bytes, depth);
      break;
    default: {
      constexpr const char* kPlaces[] = {"#", "#/$defs/a", "#/$defs/b", "#/properties/a", "#/none"};
      schema["$ref"] = kPlaces[bytes.Below(5)];
    }
  }
  // Keywords of other types beside it, which say nothing of this one.
  if (bytes.Below(6) == 1) AddStringKeywords(bytes, schema);
  if (bytes.Below(6) == 1) AddNumberKeywords(bytes, schema);
  if (bytes.Below(8) == 1) {
    schema["type"] = {"null", "string", "integer"};
  }
  return schema;
}

std::shared_ptr<const OutputVocabulary> ByteTokens() {
  std::vector<OutputVocabulary::Token> tokens;
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back({std::string(1, static_cast<char>(byte)), false});
  }
  for (const char* text : {"\":", "\", \"", "}}", "12", "{\"", "true", "\xC3\xA4", "[[", "null"}) {
    tokens.push_back({text, false});
  }
  tokens.push_back({"<end>", true});
  return std::make_shared<OutputVocabulary>(
      tokens, std::vector{TokenId(static_cast<int32_t>(tokens.size()) - 1)});
}

// A walk along the masks, which prefers what closes, so that most end.
void WriteOne(const std::shared_ptr<const OutputGrammar>& grammar, uint64_t seed) {
  const OutputVocabulary& vocabulary = grammar->vocabulary();
  OutputMatcher matcher(grammar);
  CounterRng rng(seed, 0);
  std::string text;
  for (int step = 0; step < 160; ++step) {
    const auto mask = matcher.Mask();
    if (!mask.ok()) return;
    std::vector<TokenId> allowed, closing;
    for (int32_t id = 0; id < vocabulary.size(); ++id) {
      if (!(*mask)->Allows(TokenId(id))) continue;
      allowed.push_back(TokenId(id));
      const std::string_view bytes = vocabulary.token(TokenId(id)).bytes;
      if (vocabulary.IsEnd(TokenId(id)) || bytes == "\"" || bytes == "}" || bytes == "]") {
        closing.push_back(TokenId(id));
      }
    }
    CHECK(!allowed.empty());
    const auto& from = !closing.empty() && step > 20 ? closing : allowed;
    const TokenId next = from[rng.NextU64() % from.size()];
    if (vocabulary.IsEnd(next)) {
      CHECK(json::accept(text));
      return;
    }
    text += vocabulary.token(next).bytes;
    CHECK(matcher.Take(next));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto vocabulary = ByteTokens();
  Bytes bytes(data, size);
  const int walks = 1 + bytes.Below(3);
  json schema = Schema(bytes, 0);
  if (schema.is_object() && bytes.Below(2) == 1) {
    schema["$defs"] = {{"a", Schema(bytes, 1)}, {"b", Schema(bytes, 1)}};
  }
  const auto grammar = OutputGrammar::FromJsonSchema(schema.dump(), vocabulary);
  if (!grammar.ok()) {
    CHECK(!grammar.error().message.empty() && grammar.error().message.size() < 1024);
    return 0;
  }
  for (int walk = 0; walk < walks; ++walk) WriteOne(*grammar, static_cast<uint64_t>(walk));
  return 0;
}
