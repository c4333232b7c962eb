// Jinja2's own answers, byte for byte: testdata/oracle.json was written by Jinja2 3.1.2 set up as
// transformers does.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "chat_template/chat_template.h"
#include "chat_template/json_value_for_test.h"
#include "tests/test_paths.h"

namespace millrace {
namespace {

TEST(ChatTemplateOracle, AgreesWithJinja2) {
  std::ifstream file(SourceDir() + "/src/chat_template/testdata/oracle.json");
  std::stringstream text;
  text << file.rdbuf();
  const auto oracle = nlohmann::ordered_json::parse(text.str());
  const jinja::Value context = ValueForTest(oracle["context"]);
  ASSERT_GT(oracle["cases"].size(), 300u);
  for (const auto& test_case : oracle["cases"]) {
    const std::string source = test_case["template"].get<std::string>();
    SCOPED_TRACE(source);
    const auto parsed = ChatTemplate::Parse(source);
    const Result<std::string> rendered =
        parsed.ok() ? parsed->Render(context.as_dict()) : Result<std::string>(parsed.error());
    if (test_case.contains("error")) {
      EXPECT_FALSE(rendered.ok()) << "Jinja2: " << test_case["error"]
                                  << ", here: " << rendered.value();
      continue;
    }
    if (!rendered.ok()) {
      ADD_FAILURE() << rendered.error().message;
      continue;
    }
    EXPECT_EQ(rendered.value(), test_case["expected"].get<std::string>());
  }
}

}  // namespace
}  // namespace millrace
