#include "openai_api/template_chat.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "chat_template/chat_template.h"
#include "tests/test_paths.h"
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

TEST_F(TemplateChat, TheStyleOfAnswersIsFoundByRendering) {
  const auto style = [&](const char* source) {
    const auto parsed = ChatTemplate::Parse(source);
    EXPECT_TRUE(parsed.ok());
    return StyleOf(*parsed, *tokenizer_, source);
  };
  AnswerStyle found = style(
      "{% if tools %}Answer <tool_call>: {{ tools[0].function | tojson }}{% endif %}"
      "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}");
  EXPECT_TRUE(found.shows_tools);
  EXPECT_TRUE(found.takes_system);
  EXPECT_EQ(found.tools, ToolFormat::kHermes);
  EXPECT_EQ(found.reasoning, ThinkMarkers());
  found = style("{% for m in messages %}{{ m.content }}{% endfor %}");
  EXPECT_FALSE(found.shows_tools);
  EXPECT_EQ(found.tools, ToolFormat::kJson);
  EXPECT_FALSE(found.reasoning);
  // A marker is named, but tools are not shown; a system message is refused.
  found = style(
      "{# <tool_call> #}{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif "
      "%}x");
  EXPECT_FALSE(found.shows_tools);
  EXPECT_FALSE(found.takes_system);
  EXPECT_EQ(found.tools, ToolFormat::kJson);
}

// As Mistral's templates refuse ids; a chat with those of another server is rendered all the same.
TEST_F(TemplateChat, IdsOfCallsAreShortenedForTemplatesThatTakeNineCharacters) {
  constexpr char kSource[] =
      "{% for m in messages %}{% for c in m.tool_calls or [] %}{% if c.id | length != 9 %}"
      "{{ raise_exception('Tool call IDs should have nine characters!') }}{% endif %}<{{ c.id }}"
      "{% endfor %}{% if m.tool_call_id %}>{{ m.tool_call_id }}{% endif %}{% endfor %}";
  const auto parsed = ChatTemplate::Parse(kSource);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(StyleOf(*parsed, *tokenizer_, kSource).call_ids, CallIds::kNineCharacters);
  const auto rendered = [&](const std::string& id) {
    nlohmann::json chat;
    chat["messages"] = {{{"role", "assistant"}, {"tool_calls", {{{"id", id}}}}},
                        {{"role", "tool"}, {"tool_call_id", id}}};
    const auto text = RenderChatJson(*parsed, *tokenizer_, chat.dump(), CallIds::kNineCharacters);
    EXPECT_TRUE(text.ok());
    return text.ok() ? *text : "";
  };
  EXPECT_EQ(rendered("abcDEF123"), "<abcDEF123>abcDEF123");
  std::set<std::string> seen;
  for (const char* id : {"", "call_1", "call_2", "toolu_01AbCd", "abc-EF123"}) {
    const std::string text = rendered(id);
    ASSERT_EQ(text.size(), 20u) << text;
    EXPECT_EQ(text.substr(1, 9), text.substr(11)) << id;
    EXPECT_EQ(text, rendered(id));
    EXPECT_TRUE(seen.insert(text).second) << id;
  }
  EXPECT_FALSE(Render(kSource, R"({"messages": [{"role": "assistant", "tool_calls":
      [{"id": "call_1"}]}]})")
                   .ok());  // as it is given
  // Whoever takes any id is given it.
  constexpr char kAny[] = "{% for m in messages %}{{ m.tool_calls[0].id }}{% endfor %}";
  const auto any = ChatTemplate::Parse(kAny);
  ASSERT_TRUE(any.ok());
  EXPECT_EQ(StyleOf(*any, *tokenizer_, kAny).call_ids, CallIds::kAny);
}

TEST_F(TemplateChat, StylesOfRealTemplates) {
  const std::filesystem::path folder =
      std::filesystem::path(SharedDir()) / "fixtures/chat-templates";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no shared fixtures at " << folder;
  struct Known {
    const char* file;
    ToolFormat tools;
    bool shows_tools, takes_system, reasons;
  };
  const Known known[] = {
      {"Qwen-Qwen2.5-7B-Instruct", ToolFormat::kHermes, true, true, false},
      {"Qwen-Qwen3-0.6B", ToolFormat::kHermes, true, true, true},
      {"meta-llama-Llama-3.1-8B-Instruct", ToolFormat::kLlama3, true, true, false},
      {"meta-llama-Llama-3.2-3B-Instruct", ToolFormat::kLlama3, true, true, false},
      {"mistralai-Mistral-Nemo-Instruct-2407", ToolFormat::kMistral, true, true, false},
      {"google-gemma-2-2b-it", ToolFormat::kJson, false, false, false},
      {"microsoft-Phi-3.5-mini-instruct", ToolFormat::kJson, false, true, false},
      {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", ToolFormat::kJson, false, true, true},
      {"GLM-4.6", ToolFormat::kGlm, true, true, true},
  };
  for (const Known& one : known) {
    std::ifstream file(folder / (std::string(one.file) + ".json"));
    const std::string source = nlohmann::json::parse(file)["template"];
    const auto parsed = ChatTemplate::Parse(source);
    ASSERT_TRUE(parsed.ok());
    const AnswerStyle found = StyleOf(*parsed, *tokenizer_, source);
    EXPECT_EQ(NameOf(found.tools), NameOf(one.tools)) << one.file;
    EXPECT_EQ(found.shows_tools, one.shows_tools) << one.file;
    EXPECT_EQ(found.takes_system, one.takes_system) << one.file;
    EXPECT_EQ(found.reasoning.has_value(), one.reasons) << one.file;
    EXPECT_EQ(found.call_ids == CallIds::kNineCharacters, found.tools == ToolFormat::kMistral)
        << one.file;
  }
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
