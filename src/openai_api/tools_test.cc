// Tools and reasoning in requests: what is taken, what is refused, what becomes of it for a model
// of some style.
#include <string>

#include "openai_api/answer_plan.h"
#include "openai_api/parsing_test_util.h"
#include "openai_api/partial_object.h"
#include "openai_api/response.h"
#include "openai_api/tool_prompt.h"

namespace millrace {
namespace {

json ToolOf(const json& function) { return {{"type", "function"}, {"function", function}}; }
json FunctionOf(const char* name) {
  return {{"name", name}, {"parameters", {{"type", "object"}, {"properties", json::object()}}}};
}
json With(const json& function) { return {{"tools", json::array({ToolOf(function)})}}; }
json NamedChoice(const char* name) {
  return {{"type", "function"}, {"function", {{"name", name}}}};
}

TEST(Tools, AreTakenWithTheirChoice) {
  const json tools = json::array({ToolOf(FunctionOf("f")), ToolOf(FunctionOf("g"))});
  const ChatRequest plain = Chat({{"tools", tools}});
  ASSERT_EQ(plain.tools.functions.size(), 2u);
  EXPECT_FALSE(plain.tools.must_call);
  EXPECT_TRUE(plain.tools.parallel);
  EXPECT_TRUE(plain.mentions_tools);
  EXPECT_FALSE(Chat(json::object()).mentions_tools);
  EXPECT_TRUE(Chat({{"tools", tools}, {"tool_choice", "required"}}).tools.must_call);
  EXPECT_FALSE(Chat({{"tools", tools}, {"parallel_tool_calls", false}}).tools.parallel);
  EXPECT_TRUE(Chat({{"tools", tools}, {"tool_choice", "none"}}).tools.functions.empty());
  const ChatRequest named = Chat({{"tools", tools}, {"tool_choice", NamedChoice("g")}});
  ASSERT_EQ(named.tools.functions.size(), 1u);
  EXPECT_EQ(named.tools.functions[0].function.name, "g");
  EXPECT_EQ(named.tools.functions[0].param, "tools[1].function.parameters");
  EXPECT_TRUE(named.tools.must_call);
  EXPECT_FALSE(named.tools.parallel);
  const json allowed = {{"type", "allowed_tools"},
                        {"allowed_tools", {{"mode", "auto"}, {"tools", {NamedChoice("g")}}}}};
  const ChatRequest some = Chat({{"tools", tools}, {"tool_choice", allowed}});
  EXPECT_EQ(some.tools.functions.size(), 1u);
  EXPECT_FALSE(some.tools.must_call);
  EXPECT_EQ(json::parse(some.template_json)["tools"].size(), 2u);  // the model sees all
}

TEST(Tools, WhatIsWrongIsNamed) {
  const auto param = [](json function) { return ChatError(With(function)).param; };
  const std::string in = "tools[0].function";
  EXPECT_EQ(param({{"parameters", json::object()}}), in + ".name");
  for (const std::string& name : {std::string(), std::string("a b"), std::string("a.b"),
                                  std::string("\xC3\xA9"), std::string(65, 'a')}) {
    EXPECT_EQ(param({{"name", name}}), in + ".name") << name;
  }
  Chat(With({{"name", std::string(64, 'a')}}));
  for (const json& parameters : {json("x"), json::array(), json{{"type", "string"}}, json(true)}) {
    EXPECT_EQ(param({{"name", "f"}, {"parameters", parameters}}), in + ".parameters");
  }
  EXPECT_EQ(param({{"name", "f"}, {"description", 1}}), in + ".description");
  EXPECT_EQ(param({{"name", "f"}, {"strict", "yes"}}), in + ".strict");
  EXPECT_EQ(param({{"name", "f"}, {"description", std::string(kMaxFunctionBytes, 'x')}}),
            "tools[0]");
  EXPECT_EQ(ChatError({{"tools", json::array({{{"type", "web_search"}}})}}).param, "tools[0]");
  const json twice = json::array({ToolOf(FunctionOf("f")), ToolOf(FunctionOf("f"))});
  EXPECT_EQ(ChatError({{"tools", twice}}).param, "tools[1].function.name");
  json many = json::array();
  for (size_t i = 0; i <= kMaxTools; ++i) {
    many.push_back(ToolOf(FunctionOf(("f" + std::to_string(i)).c_str())));
  }
  EXPECT_EQ(ChatError({{"tools", many}}).param, "tools");
  many.erase(many.begin());
  Chat({{"tools", many}});
  json one = With(FunctionOf("f"));
  for (const json& choice : {json("x"), json(1), json{{"type", "function"}}, NamedChoice("g"),
                             json{{"type", "allowed_tools"}}}) {
    one["tool_choice"] = choice;
    EXPECT_EQ(ChatError(one).param, "tool_choice") << choice;
  }
  EXPECT_EQ(ChatError({{"tool_choice", NamedChoice("f")}}).param, "tool_choice");
  EXPECT_EQ(ChatError({{"reasoning_format", "x"}}).param, "reasoning_format");
}

TEST(Tools, MessagesOfCallsAndResults) {
  const json call = {
      {"id", "c1"}, {"type", "function"}, {"function", {{"name", "f"}, {"arguments", "{}"}}}};
  const json messages = {kUser,
                         {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", {call}}},
                         {{"role", "tool"}, {"tool_call_id", "c1"}, {"content", "4"}}};
  const ChatRequest chat = Chat({{"messages", messages}});
  EXPECT_TRUE(chat.mentions_tools);
  const json taken = json::parse(chat.template_json)["messages"];
  EXPECT_EQ(taken[1], messages[1]);
  EXPECT_EQ(taken[2]["name"], "f");  // some templates want it
  json bad = messages;
  bad[1]["tool_calls"][0]["function"]["arguments"] = 7;
  EXPECT_EQ(ChatError({{"messages", bad}}).param, "messages[1].tool_calls[0]");
  bad[1]["tool_calls"][0] = json::object();
  EXPECT_EQ(ChatError({{"messages", bad}}).param, "messages[1].tool_calls[0]");
  bad = messages;
  bad[2]["tool_call_id"] = 7;
  EXPECT_EQ(ChatError({{"messages", bad}}).param, "messages[2].tool_call_id");
}

TEST(Tools, ATemplateWithoutAPlaceForThemGetsThemAsText) {
  const json call = {{"id", "c"}, {"function", {{"name", "f"}, {"arguments", R"({"a": 1})"}}}};
  const json messages = {{{"role", "system"}, {"content", "Be brief."}},
                         kUser,
                         {{"role", "assistant"}, {"tool_calls", {call}}},
                         {{"role", "tool"}, {"tool_call_id", "c"}, {"content", "4"}},
                         {{"role", "tool"}, {"tool_call_id", "d"}, {"content", "5"}},
                         {{"role", "user"}, {"content", "And?"}}};
  json body = With(FunctionOf("f"));
  body["messages"] = messages;
  const ChatRequest chat = Chat(body);
  AnswerStyle style;
  auto text = ChatWithToolsAsText(chat.template_json, style);
  ASSERT_TRUE(text.ok());
  json made = json::parse(*text);
  EXPECT_FALSE(made.contains("tools"));
  const json& m = made["messages"];
  ASSERT_EQ(m.size(), 4u);
  EXPECT_EQ(m[0]["content"].get<std::string>().rfind("Be brief.\n\nYou may call", 0), 0u);
  EXPECT_NE(m[0]["content"].get<std::string>().find("\n{\"name\":\"f\",\"parameters\":"),
            std::string::npos);
  EXPECT_EQ(m[2]["content"], R"({"name":"f","arguments":{"a":1}})");
  EXPECT_EQ(m[3]["role"], "user");
  EXPECT_EQ(m[3]["content"], "The function f answered:\n4\n\nThe function answered:\n5\n\nAnd?");
  // Where there is no place for a system message either: before the user's first words.
  style.takes_system = false;
  text = ChatWithToolsAsText(Chat(With(FunctionOf("f"))).template_json, style);
  made = json::parse(*text);
  ASSERT_EQ(made["messages"].size(), 1u);
  const std::string first = made["messages"][0]["content"];
  EXPECT_EQ(first.substr(first.size() - 7), "\n\nhello");
}

AnswerStyle Hermes() {
  AnswerStyle style;
  style.tools = ToolFormat::kHermes;
  style.reasoning = ThinkMarkers();
  return style;
}

TEST(Tools, ThePlanOfAnAnswer) {
  using Kind = OutputConstraint::Kind;
  json body = With(FunctionOf("f"));
  AnswerPlan plan = PlanAnswer(Hermes(), Chat(body), "<|im_start|>assistant\n");
  EXPECT_EQ(plan.constraint.kind, Kind::kNone);
  EXPECT_EQ(plan.reading.functions, std::vector<std::string>{"f"});
  EXPECT_EQ(plan.reading.reasoning, ThinkMarkers());
  EXPECT_FALSE(plan.reading.in_reasoning);
  body["stream"] = true;
  body["tool_choice"] = "required";
  plan = PlanAnswer(Hermes(), Chat(body), "");
  EXPECT_EQ(plan.constraint.kind, Kind::kPattern);
  EXPECT_EQ(plan.constraint.param, "tools");
  ASSERT_EQ(plan.constraint.parts.size(), 1u);
  EXPECT_EQ(plan.constraint.parts[0].first, "tools[0].function.parameters");
  // What the prompt says of the block.
  const auto reading = [](std::string_view prompt, const json& change,
                          const std::string& prefill = "") {
    ChatRequest chat = Chat(change);
    chat.prefill = prefill;
    return PlanAnswer(Hermes(), chat, prompt).reading;
  };
  EXPECT_TRUE(reading("assistant\n<think>\n", json::object()).in_reasoning);
  EXPECT_FALSE(reading("assistant\n<think>\n\n</think>\n\n", json::object()).reasoning);
  EXPECT_FALSE(reading("x<think>\n", {{"reasoning_format", "none"}}).reasoning);
  EXPECT_FALSE(reading("x", json::object(), "So, ").reasoning);
  EXPECT_TRUE(reading("x", json::object(), "<think>So, ").in_reasoning);
  EXPECT_TRUE(reading("x<think>", json::object(), "So, ").in_reasoning);
  EXPECT_FALSE(PlanAnswer({}, Chat(json::object()), "x").reading.reads_anything());
  EXPECT_TRUE(PlanAnswer({}, Chat({{"reasoning_format", "deepseek"}}), "x").reading.reasoning);
}

TEST(Tools, AFormatAndReasoningGoTogether) {
  const auto kind = [](const json& change, std::string_view prompt, const AnswerStyle& style) {
    return PlanAnswer(style, Chat(change), prompt).constraint.kind;
  };
  using Kind = OutputConstraint::Kind;
  const json object = {{"response_format", {{"type", "json_object"}}}};
  EXPECT_EQ(kind(object, "x", AnswerStyle()), Kind::kJsonObject);
  EXPECT_EQ(kind(object, "x", Hermes()), Kind::kPattern);
  EXPECT_EQ(kind(object, "x<think>", Hermes()), Kind::kPattern);
  EXPECT_EQ(kind(object, "<think></think>", Hermes()), Kind::kJsonObject);
  json left = object;
  left["reasoning_format"] = "none";
  EXPECT_EQ(kind(left, "x", Hermes()), Kind::kJsonObject);
}

TEST(Tools, WhatIsWholeOfArgumentsThatWereCut) {
  using openai_internal::PartialObject;
  const std::pair<const char*, const char*> cases[] = {
      {R"({"a": 1})", R"({"a": 1})"},
      {"", "{}"},
      {"{", "{}"},
      {R"({"ci)", "{}"},
      {R"({"city")", "{}"},
      {R"({"city": )", "{}"},
      {R"({"city": "Os)", R"({"city": "Os"})"},
      {R"({"city": "a\)", R"({"city": "a"})"},
      {R"({"city": "a\u00)", R"({"city": "a"})"},
      {R"({"city": "Oslo", "days": 1)", R"({"city": "Oslo"})"},
      {R"({"days": 12, "ci)", R"({"days": 12})"},
      {R"({"days": 12,)", R"({"days": 12})"},
      {R"({"on": tru)", "{}"},
      {R"({"on": true, )", R"({"on": true})"},
      {R"({"l": [1, {"b": "x", "c": 2)", R"({"l": [1, {"b": "x"}]})"},
      {R"({"l": [1, 2)", R"({"l": [1]})"},
      {R"({"a": oops})", "{}"},
      {"no object", "{}"},
      {R"(["a"])", "{}"}};
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(PartialObject(text), json::parse(expected)) << text;
  }
}

TEST(Tools, CallsInAnswers) {
  ResponseHead head;
  ChoiceText choice;
  choice.calls = {{.index = 0, .id = "c1", .name = "f", .arguments = "{\"a\":1}"}};
  choice.reasoning = "hm";
  choice.finish_reason = "tool_calls";
  Usage usage;
  usage.completion_tokens = 9;
  usage.reasoning_tokens = 4;
  const json whole = json::parse(WholeResponse(head, {&choice, 1}, usage));
  EXPECT_EQ(whole["usage"]["completion_tokens_details"]["reasoning_tokens"], 4);
  const json& message = whole["choices"][0]["message"];
  EXPECT_TRUE(message["content"].is_null());
  EXPECT_EQ(message["reasoning_content"], "hm");
  EXPECT_EQ(message["tool_calls"][0],
            (json{{"id", "c1"},
                  {"type", "function"},
                  {"function", {{"name", "f"}, {"arguments", "{\"a\":1}"}}}}));
  ChoiceText delta;
  delta.calls = {{.index = 2, .id = "", .name = "", .arguments = "1}"}};
  const json chunk = json::parse(TextChunk(head, delta))["choices"][0]["delta"];
  EXPECT_EQ(chunk, (json{{"tool_calls", {{{"index", 2}, {"function", {{"arguments", "1}"}}}}}}}));
}

}  // namespace
}  // namespace millrace
