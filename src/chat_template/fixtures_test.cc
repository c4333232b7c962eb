// Real models' templates, rendered byte for byte as transformers does. Skips where the shared
// fixtures are absent.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "chat_template/chat_template.h"
#include "tests/test_paths.h"

namespace millrace {
namespace {

using jinja::Dict;
using jinja::Value;
using Json = nlohmann::ordered_json;

Value ToValue(const Json& json) {
  if (json.is_boolean()) return Value::Bool(json.get<bool>());
  if (json.is_number_integer()) return Value::Int(json.get<int64_t>());
  if (json.is_number_float()) return Value::Float(json.get<double>());
  if (json.is_string()) return Value::String(json.get<std::string>());
  if (json.is_array()) {
    std::vector<Value> items;
    for (const Json& item : json) items.push_back(ToValue(item));
    return Value::List(std::move(items));
  }
  if (json.is_object()) {
    Dict dict;
    for (const auto& [key, value] : json.items()) dict.Set(key, ToValue(value));
    return Value::Map(std::move(dict));
  }
  return Value::None();
}

Json ReadJson(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return Json::parse(text.str());
}

Dict ContextOf(const Json& fixture, const Json& test_case) {
  Dict context;
  context.Set("bos_token", ToValue(fixture["bos_token"]));
  context.Set("eos_token", ToValue(fixture["eos_token"]));
  context.Set("tools", Value::None());
  context.Set("documents", Value::None());
  for (const auto& [key, value] : test_case.items()) {
    if (key != "expected" && key != "error") context.Set(key, ToValue(value));
  }
  return context;
}

TEST(ChatTemplateFixtures, RendersAsTransformersDoes) {
  const std::filesystem::path folder =
      std::filesystem::path(SharedDir()) / "fixtures/chat-templates";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no shared fixtures at " << folder;
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    const Json fixture = ReadJson(entry.path());
    const auto parsed = ChatTemplate::Parse(fixture["template"].get<std::string>());
    ASSERT_TRUE(parsed.ok()) << entry.path() << ": " << parsed.error().message;
    const auto now = ParseCivilTime(fixture["now"].get<std::string>());
    ASSERT_TRUE(now.has_value());
    for (const Json& test_case : fixture["cases"]) {
      SCOPED_TRACE(entry.path().filename().string() + " case " + std::to_string(cases++));
      const auto rendered = parsed->Render(ContextOf(fixture, test_case), now);
      if (test_case.contains("error")) {
        EXPECT_FALSE(rendered.ok());
        continue;
      }
      ASSERT_TRUE(rendered.ok()) << rendered.error().message;
      EXPECT_EQ(rendered.value(), test_case["expected"].get<std::string>());
    }
  }
  EXPECT_GE(cases, 80);
}

}  // namespace
}  // namespace millrace
