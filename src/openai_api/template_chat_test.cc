#include "openai_api/template_chat.h"

#include <gtest/gtest.h>

#include "chat_template/chat_template.h"
#include "tokenizer/tokenizer_test_vocabulary.h"

namespace millrace {
namespace {

class TemplateChat : public testing::Test {
 protected:
  void SetUp() override {
    auto tokenizer = BytePairVocabulary().Load();
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    tokenizer_.emplace(std::move(tokenizer).value());
  }
  Result<std::string> Render(std::string_view source, std::string_view chat) {
    ASSIGN_OR_RETURN(const ChatTemplate parsed, ChatTemplate::Parse(source));
    return RenderChatJson(parsed, *tokenizer_, chat);
  }
  std::string Text(std::string_view source, std::string_view chat) {
    const Result<std::string> text = Render(source, chat);
    return text.ok() ? *text : "error: " + text.error().message;
  }
  std::optional<Tokenizer> tokenizer_;
};

TEST_F(TemplateChat, MessagesToolsAndKwargs) {
  constexpr char kSource[] =
      "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"
      "{% if tools %}{{ tools[0].name }}{% endif %}{% if add_generation_prompt %}>{% endif %}{{ x "
      "}}";
  EXPECT_EQ(Text(kSource, R"({"messages": [{"role": "user", "content": "hi"}],
      "tools": [{"name": "t"}], "add_generation_prompt": true, "chat_template_kwargs": {"x": 7}})"),
            "<|im_start|>user:hi;t>7");
  EXPECT_EQ(Text(kSource, R"({"messages": [], "bos_token": "B"})"), "B");
}

TEST_F(TemplateChat, ToolArgumentsBecomeObjects) {
  EXPECT_EQ(Text("{{ messages[0].tool_calls[0].function.arguments.city }}",
                 R"({"messages": [{"role": "assistant", "tool_calls": [{"function":
                     {"name": "f", "arguments": "{\"city\": \"Bern\"}"}}]}]})"),
            "Bern");
}

TEST_F(TemplateChat, TheDateCanBeGiven) {
  EXPECT_EQ(Text("{{ strftime_now('%Y-%m-%d') }}", R"({"messages": [], "now": "2020-02-29"})"),
            "2020-02-29");
  EXPECT_FALSE(Render("x", R"({"messages": [], "now": "yesterday"})").ok());
}

TEST_F(TemplateChat, ErrorsAreErrors) {
  EXPECT_FALSE(Render("x", "{").ok());
  EXPECT_FALSE(Render("x", "{}").ok());
  EXPECT_FALSE(Render("x", R"({"messages": 3})").ok());
  const auto raised = Render("{{ raise_exception('no way') }}", R"({"messages": []})");
  ASSERT_FALSE(raised.ok());
  EXPECT_NE(raised.error().message.find("no way"), std::string::npos);
}

TEST_F(TemplateChat, Turns) {
  const auto parsed = ChatTemplate::Parse("{% for m in messages %}{{ m.content }}|{% endfor %}");
  ASSERT_TRUE(parsed.ok());
  const auto text = RenderTurns(*parsed, *tokenizer_, {{"system", "a"}, {"user", "b \"q\""}});
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, "a|b \"q\"|");
}

}  // namespace
}  // namespace millrace
