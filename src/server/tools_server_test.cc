// Tool calls and reasoning over HTTP. The model says anything, so calls are asked for: what then
// comes is a call as its schema says, whole and streamed, with and without drafts.
#include <algorithm>
#include <set>

#include "server/server_test_util.h"

namespace millrace {
namespace {

class ToolsServerTest : public ServerTest {
 protected:
  void SetUp() override {
    TestVocabulary vocabulary = BytePairVocabulary();
    vocabulary.Add("[TOOL_CALLS]", 3);  // a control token, as in Mistral's vocabularies
    tokenizer_.emplace(LoadOrDie(vocabulary));
    speculation_ = Speculation::kLookup;
    habit_ = 3;
  }

  static json Tool(const char* name, const json& parameters, bool strict = false) {
    json function = {{"name", name}, {"description", "d"}, {"parameters", parameters}};
    if (strict) function["strict"] = true;
    return {{"type", "function"}, {"function", std::move(function)}};
  }
  static json Asking(const json& fields, int max_tokens = 400) {
    json request = Chat(max_tokens);
    request["temperature"] = 0.9;
    request.erase("ignore_eos");
    request["tools"] = json::array({Weather(), Now()});
    request.update(fields);
    return request;
  }
  static json Now() { return Tool("now", {{"type", "object"}, {"properties", json::object()}}); }
  static json Weather() {
    return Tool("weather", {{"type", "object"},
                            {"properties",
                             {{"city", {{"type", "string"}, {"maxLength", 8}}},
                              {"days", {{"type", "integer"}, {"minimum", 1}, {"maximum", 7}}}}},
                            {"required", {"city", "days"}},
                            {"additionalProperties", false}});
  }
  json Choice(const json& request) {
    const ClientResponse response = Post(kChatPath, request);
    EXPECT_EQ(response.status, 200) << response.body;
    return response.status == 200 ? json::parse(response.body)["choices"][0] : json();
  }
  // The message that the deltas of a stream add up to, with its finish reason.
  json Streamed(json request, size_t* argument_chunks = nullptr) {
    request["stream"] = true;
    json message = {{"content", nullptr}};
    for (const std::string& event : EventsOf(Post(kChatPath, request).body)) {
      if (event == "[DONE]") continue;
      const json choice = json::parse(event)["choices"][0];
      const json& delta = choice["delta"];
      for (const char* name : {"content", "reasoning_content"}) {
        if (!delta.contains(name) || delta[name] == "") continue;
        if (!message.contains(name) || message[name].is_null()) message[name] = "";
        message[name] = message[name].get<std::string>() + delta[name].get<std::string>();
      }
      for (const json& call : delta.value("tool_calls", json::array())) {
        const size_t index = call["index"];
        if (call.contains("id")) {
          EXPECT_EQ(index, message.value("tool_calls", json::array()).size());
          message["tool_calls"].push_back(call);
          continue;
        }
        if (argument_chunks != nullptr) ++*argument_chunks;
        json& function = message["tool_calls"].at(index)["function"];
        function["arguments"] = function["arguments"].get<std::string>() +
                                call["function"]["arguments"].get<std::string>();
      }
      if (!choice["finish_reason"].is_null()) message["finish_reason"] = choice["finish_reason"];
    }
    return message;
  }
  json Error(const json& fields) {
    const ClientResponse response = Post(kChatPath, Asking(fields));
    EXPECT_EQ(response.status, 400) << response.body;
    return json::parse(response.body)["error"];
  }
};

json Named(const char* name) { return {{"type", "function"}, {"function", {{"name", name}}}}; }

constexpr ToolFormat kFormats[] = {
    ToolFormat::kHermes,    ToolFormat::kLlama3, ToolFormat::kMistral, ToolFormat::kMistralArgs,
    ToolFormat::kQwenCoder, ToolFormat::kGlm,    ToolFormat::kJson};

TEST_F(ToolsServerTest, ANamedFunctionIsCalledInEveryFormat) {
  for (const ToolFormat format : kFormats) {
    TearDown();
    answer_style_.tools = format;
    StartServer();
    for (int seed = 0; seed < 8; ++seed) {
      json request = Asking({{"tool_choice", Named("weather")}, {"seed", seed}});
      const json choice = Choice(request);
      EXPECT_EQ(choice["finish_reason"], "tool_calls") << choice;
      const json& message = choice["message"];
      EXPECT_TRUE(message["content"].is_null()) << message;
      ASSERT_EQ(message.value("tool_calls", json::array()).size(), 1u) << message;
      const json& call = message["tool_calls"][0];
      EXPECT_EQ(call["type"], "function");
      EXPECT_EQ(call["function"]["name"], "weather");
      const std::string id = call["id"];
      const bool mistral = format == ToolFormat::kMistral || format == ToolFormat::kMistralArgs;
      EXPECT_EQ(id.size(), mistral ? 9u : 21u);
      const json arguments = json::parse(call["function"]["arguments"].get<std::string>());
      EXPECT_TRUE(arguments["city"].is_string());
      EXPECT_GE(arguments["days"], 1);
      EXPECT_LE(arguments["days"], 7);
      // The same without drafts, and in pieces.
      request["millrace"] = {{"speculate", "off"}};
      EXPECT_EQ(Choice(request)["message"]["tool_calls"][0]["function"], call["function"]);
      size_t chunks = 0;
      const json streamed = Streamed(request, &chunks);
      EXPECT_EQ(streamed["finish_reason"], "tool_calls");
      EXPECT_TRUE(streamed["content"].is_null());
      EXPECT_EQ(streamed["tool_calls"][0]["function"], call["function"]);
      EXPECT_GT(chunks, 3u);
    }
  }
}

// max_tokens ends the answer in the middle of a call: what there is of it, whole as streamed, as
// OpenAI's API does it.
TEST_F(ToolsServerTest, ACallThatIsCutIsTheSameWholeAndStreamed) {
  for (const ToolFormat format : kFormats) {
    TearDown();
    answer_style_.tools = format;
    StartServer();
    int cut = 0;
    for (int tokens = 6; tokens <= 80; tokens += 6) {
      json request = Asking({{"tool_choice", Named("weather")}, {"seed", tokens}}, tokens);
      const json choice = Choice(request);
      json streamed = Streamed(request);
      EXPECT_EQ(streamed["finish_reason"], choice["finish_reason"]);
      const json calls = choice["message"].value("tool_calls", json::array());
      const json told = streamed.value("tool_calls", json::array());
      ASSERT_EQ(calls.size(), told.size()) << choice << streamed;
      const json content = choice["message"]["content"];
      if (calls.empty()) {
        EXPECT_EQ(content, streamed["content"].is_null() ? json("") : streamed["content"]);
        continue;
      }
      EXPECT_TRUE(content.is_null()) << choice;
      EXPECT_EQ(calls[0]["function"], told[0]["function"]);
      if (choice["finish_reason"] != "length") continue;
      ++cut;
      const std::string arguments = calls[0]["function"]["arguments"];
      EXPECT_TRUE(arguments.starts_with('{')) << arguments;
    }
    EXPECT_GT(cut, 0) << NameOf(format);
  }
  json ask = {{"max_tokens", 70}, {"seed", 4}, {"messages", json::array({Message("user", "hi")})}};
  ask["tools"] =
      json::array({{{"name", "weather"}, {"input_schema", Weather()["function"]["parameters"]}}});
  ask["tool_choice"] = {{"type", "tool"}, {"name", "weather"}};
  int blocks = 0;
  for (int tokens = 10; tokens < 70; tokens += 5) {
    ask["max_tokens"] = tokens;
    const json whole = json::parse(Post("/v1/messages", ask).body);
    for (const json& block : whole["content"]) {
      if (block["type"] != "tool_use" || whole["stop_reason"] != "max_tokens") continue;
      ++blocks;
      EXPECT_TRUE(block["input"].is_object());
    }
  }
  EXPECT_GT(blocks, 0);
}

TEST_F(ToolsServerTest, RequiredCallsSomethingAndNoneNothing) {
  answer_style_.tools = ToolFormat::kHermes;
  StartServer();
  std::set<std::string> ids;
  for (int seed = 0; seed < 10; ++seed) {
    json request =
        Asking({{"tool_choice", "required"}, {"parallel_tool_calls", false}, {"seed", seed}});
    const json message = Choice(request)["message"];
    ASSERT_EQ(message.value("tool_calls", json::array()).size(), 1u) << message;
    ids.insert(message["tool_calls"][0]["id"]);
    request["tool_choice"] = "none";
    request["max_completion_tokens"] = 20;
    EXPECT_FALSE(Choice(request)["message"].contains("tool_calls"));
  }
  EXPECT_EQ(ids.size(), 10u);
  const json allowed = {{"type", "allowed_tools"},
                        {"allowed_tools", {{"mode", "required"}, {"tools", {Named("now")}}}}};
  const json message =
      Choice(Asking({{"tool_choice", allowed}, {"parallel_tool_calls", false}}))["message"];
  ASSERT_TRUE(message.contains("tool_calls")) << message;
  EXPECT_EQ(message["tool_calls"][0]["function"]["name"], "now");
}

TEST_F(ToolsServerTest, WhatIsNoToolIsRefused) {
  StartServer();
  const auto param = [&](const json& fields) { return Error(fields)["param"]; };
  EXPECT_EQ(param({{"tools", {Tool("a b", json::object())}}}), "tools[0].function.name");
  EXPECT_EQ(param({{"tool_choice", Named("nobody")}}), "tool_choice");
  EXPECT_EQ(param({{"tools", json::array()}, {"tool_choice", "required"}}), "tool_choice");
  // A schema that cannot be compiled is refused where it is to be kept, by its name.
  const json bad = Tool("f", {{"type", "object"}, {"not", json::object()}});
  const json error = Error({{"tools", {Weather(), bad}}, {"tool_choice", "required"}});
  EXPECT_EQ(error["param"], "tools[1].function.parameters");
  EXPECT_EQ(error["code"], "invalid_json_schema");
  EXPECT_NE(error["message"].get<std::string>().find("'not'"), std::string::npos) << error;
  json plain = Asking({{"tools", {bad}}}, 5);
  EXPECT_EQ(Post(kChatPath, plain).status, 200);  // the model only sees it
}

// A grammar in place of a model that reasons.
json Spelled(const std::string& text) {
  std::string grammar = "root ::= \"";
  for (const char c : text) grammar += c == '"' ? "\\\"" : c == '\n' ? "\\n" : std::string(1, c);
  return {{"grammar", grammar + "\""}};
}

TEST_F(ToolsServerTest, ReasoningStandsApart) {
  StartServer();
  json request = Chat(200);
  request.erase("ignore_eos");
  request.update(Spelled("<think>\nhello hello\n</think>\n\nYes."));
  request["reasoning_format"] = "deepseek";
  const ClientResponse response = Post(kChatPath, request);
  const json body = json::parse(response.body);
  const json& message = body["choices"][0]["message"];
  ASSERT_TRUE(message.contains("reasoning_content")) << body;
  EXPECT_EQ(message["reasoning_content"], "hello hello");
  EXPECT_EQ(message["content"], "Yes.");
  const int reasoned = body["usage"]["completion_tokens_details"]["reasoning_tokens"];
  EXPECT_GT(reasoned, 3);
  EXPECT_LT(reasoned, body["usage"]["completion_tokens"]);
  const json streamed = Streamed(request);
  EXPECT_EQ(streamed["reasoning_content"], "hello hello");
  EXPECT_EQ(streamed["content"], "Yes.");
  EXPECT_EQ(streamed["finish_reason"], "stop");
  request["reasoning_format"] = "none";
  const json left = Choice(request)["message"];
  EXPECT_EQ(left["content"], "<think>\nhello hello\n</think>\n\nYes.");
  EXPECT_FALSE(left.contains("reasoning_content"));
}

// The data of a stream of named events.
std::vector<json> NamedData(const std::string& body) {
  std::vector<json> events;
  for (size_t at = 0; (at = body.find("\ndata: ", at)) != std::string::npos; ++at) {
    const size_t begin = at + 7;
    events.push_back(json::parse(body.substr(begin, body.find('\n', begin) - begin)));
  }
  return events;
}

TEST_F(ToolsServerTest, MessagesHaveBlocksOfThinkingTextAndToolUse) {
  StartServer();
  json ask = {{"max_tokens", 300}, {"seed", 4}, {"messages", json::array({Message("user", "hi")})}};
  ask["tools"] =
      json::array({{{"name", "weather"}, {"input_schema", Weather()["function"]["parameters"]}}});
  ask["tool_choice"] = {{"type", "tool"}, {"name", "weather"}};
  ask["reasoning_format"] = "none";
  const json whole = json::parse(Post("/v1/messages", ask).body);
  ASSERT_EQ(whole["stop_reason"], "tool_use") << whole;
  ASSERT_EQ(whole["content"].size(), 1u);
  const json& use = whole["content"][0];
  EXPECT_EQ(use["type"], "tool_use");
  EXPECT_EQ(use["id"].get<std::string>().rfind("toolu_", 0), 0u);
  EXPECT_EQ(use["input"].size(), 2u);
  ask["stream"] = true;
  std::string input;
  for (const json& event : NamedData(Post("/v1/messages", ask).body)) {
    if (event["type"] == "content_block_start") {
      EXPECT_EQ(event["content_block"]["type"], "tool_use");
      EXPECT_EQ(event["content_block"]["input"], json::object());
    }
    if (event["type"] == "content_block_delta")
      input += event["delta"]["partial_json"].get<std::string>();
    if (event["type"] == "message_delta") {
      EXPECT_EQ(event["delta"]["stop_reason"], "tool_use");
    }
  }
  EXPECT_EQ(json::parse(input), use["input"]);
  // Thinking, and then text.
  json think = {{"max_tokens", 300}, {"messages", json::array({Message("user", "hi")})}};
  think.update(Spelled("<think>hello</think>Yes."));
  think["reasoning_format"] = "deepseek";
  const json thought = json::parse(Post("/v1/messages", think).body)["content"];
  ASSERT_EQ(thought.size(), 2u) << thought;
  EXPECT_EQ(thought[0]["thinking"], "hello");
  EXPECT_EQ(thought[1]["text"], "Yes.");
  think["stream"] = true;
  std::vector<std::string> kinds;
  for (const json& event : NamedData(Post("/v1/messages", think).body)) {
    if (event["type"] == "content_block_start") {
      EXPECT_EQ(event["index"], kinds.size());
      kinds.push_back(event["content_block"]["type"]);
    }
  }
  EXPECT_EQ(kinds, (std::vector<std::string>{"thinking", "text"}));
}

TEST_F(ToolsServerTest, ResponsesHaveItemsOfReasoningAndCalls) {
  StartServer();
  json ask = {
      {"input", "hi"}, {"max_output_tokens", 300}, {"seed", 4}, {"reasoning_format", "none"}};
  json function = Weather()["function"];
  function["type"] = "function";
  ask["tools"] = json::array({function});
  ask["tool_choice"] = {{"type", "function"}, {"name", "weather"}};
  const json whole = json::parse(Post("/v1/responses", ask).body);
  ASSERT_EQ(whole["output"].size(), 1u) << whole;
  const json& call = whole["output"][0];
  EXPECT_EQ(call["type"], "function_call");
  EXPECT_EQ(call["status"], "completed");
  EXPECT_EQ(json::parse(call["arguments"].get<std::string>()).size(), 2u);
  ask["stream"] = true;
  std::string arguments;
  json last;
  for (const json& event : NamedData(Post("/v1/responses", ask).body)) {
    if (event["type"] == "response.function_call_arguments.delta")
      arguments += event["delta"].get<std::string>();
    last = event;
  }
  EXPECT_EQ(arguments, call["arguments"]);
  EXPECT_EQ(last["type"], "response.completed");
  EXPECT_EQ(last["response"]["output"][0]["arguments"], arguments);
  json think = {{"input", "hi"}, {"max_output_tokens", 300}};
  think.update(Spelled("<think>hello</think>Yes."));
  think["reasoning_format"] = "deepseek";
  const json thought = json::parse(Post("/v1/responses", think).body);
  ASSERT_EQ(thought["output"].size(), 2u) << thought;
  EXPECT_EQ(thought["output"][0]["content"][0]["text"], "hello");
  EXPECT_EQ(thought["output"][1]["content"][0]["text"], "Yes.");
  EXPECT_NE(thought["output"][0]["id"], thought["output"][1]["id"]);
  EXPECT_GT(thought["usage"]["output_tokens_details"]["reasoning_tokens"], 0);
}

// Beside calls the grammar is allowed, so the model may take either way; what it writes as the
// grammar says is read as what it is: text and a call. (Calls of no known function:
// answer_reader_test.)
TEST_F(ToolsServerTest, WhatIsWrittenIsReadAsWhatItIs) {
  answer_style_.tools = ToolFormat::kHermes;
  StartServer();
  const std::string known = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
  int with_text = 0;
  for (int seed = 0; seed < 24; ++seed) {
    json request = Asking({{"seed", seed}, {"parallel_tool_calls", false}});
    for (json& tool : request["tools"]) tool["function"]["strict"] = true;  // so that they end
    request.update(Spelled("Well.\n" + known));
    const json message = Choice(request)["message"];
    ASSERT_TRUE(message.contains("tool_calls")) << message;
    if (message["content"] == "Well.") {
      ++with_text;
      EXPECT_EQ(message["tool_calls"][0]["function"]["name"], "now");
      EXPECT_EQ(Streamed(request)["content"], "Well.");
    }
  }
  EXPECT_GT(with_text, 0);
  json request = Asking(Spelled(known));
  request.erase("tools");  // then a marker is text
  EXPECT_EQ(Choice(request)["message"]["content"], known);
}

// The template opens the block: a format that is asked for begins behind it.
TEST_F(ToolsServerTest, AFormatBeginsBehindABlockThatThePromptOpens) {
  answer_style_.reasoning = ThinkMarkers();
  answer_style_.tools = ToolFormat::kHermes;
  prompt_end_ = "<think>\n";
  StartServer();
  for (int seed = 0; seed < 5; ++seed) {
    json request = Asking({{"tool_choice", Named("weather")}, {"seed", seed}}, 600);
    request["logit_bias"] = json::object();
    const json choice = Choice(request);
    if (choice["finish_reason"] == "length") {  // it never stopped reasoning: no call, no content
      EXPECT_EQ(choice["message"]["content"], "");
      EXPECT_FALSE(choice["message"]["reasoning_content"].get<std::string>().empty());
      continue;
    }
    ASSERT_TRUE(choice["message"].contains("tool_calls")) << choice;
    EXPECT_EQ(choice["message"]["tool_calls"][0]["function"]["name"], "weather");
  }
}

}  // namespace
}  // namespace millrace
