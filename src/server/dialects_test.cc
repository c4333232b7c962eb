// /v1/responses and /v1/messages: the chat's answer in other forms, over sockets.
#include "server/server_test_util.h"

namespace millrace {
namespace {

struct NamedEvent {
  std::string name;
  json data;
};

std::vector<NamedEvent> NamedEventsOf(const std::string& body) {
  std::vector<NamedEvent> events;
  for (size_t at = 0; at < body.size();) {
    const size_t end = body.find("\n\n", at);
    const size_t line = body.find('\n', at);
    if (end == std::string::npos || body.substr(at, 7) != "event: " ||
        body.substr(line + 1, 6) != "data: ") {
      ADD_FAILURE() << "no stream of named events: " << body.substr(at, 200);
      break;
    }
    events.push_back(
        {body.substr(at + 7, line - at - 7), json::parse(body.substr(line + 7, end - line - 7))});
    at = end + 2;
  }
  return events;
}

json Ask(const json& change = json::object()) {
  json body = {{"max_tokens", 12}, {"seed", 5}, {"ignore_eos", true}};
  body["messages"] = json::array({{{"role", "user"}, {"content", "hello"}}});
  body.update(change);
  return body;
}
json Respond(const json& change = json::object()) {
  json body = {{"input", "hello"}, {"max_output_tokens", 12}, {"seed", 5}, {"ignore_eos", true}};
  body.update(change);
  return body;
}

TEST_F(ServerTest, ResponsesAndMessagesGiveTheChatsText) {
  StartServer();
  const json chat = json::parse(Post(kChatPath, Chat()).body);
  const std::string text = chat["choices"][0]["message"]["content"];
  const json response = json::parse(Post("/v1/responses", Respond()).body);
  EXPECT_EQ(response["object"], "response");
  EXPECT_EQ(response["output"][0]["content"][0]["text"], text);
  EXPECT_EQ(response["status"], "incomplete");
  EXPECT_EQ(response["usage"]["input_tokens"], 3);
  EXPECT_EQ(response["usage"]["output_tokens"], 12);
  EXPECT_TRUE(response["usage"]["millrace"].contains("cached_tokens"));
  const ClientResponse message = Post("/v1/messages", Ask());
  const json body = json::parse(message.body);
  EXPECT_EQ(body["content"][0]["text"], text);
  EXPECT_EQ(body["stop_reason"], "max_tokens");
  EXPECT_EQ(body["usage"]["output_tokens"], 12);
  EXPECT_TRUE(message.headers.count("x-millrace-savings"));
  EXPECT_EQ(message.headers.at("request-id"), message.headers.at("x-request-id"));
}

TEST_F(ServerTest, ResponsesStreamIsTheWholeInEvents) {
  StartServer();
  const json whole = json::parse(Post("/v1/responses", Respond()).body);
  const auto events = NamedEventsOf(Post("/v1/responses", Respond({{"stream", true}})).body);
  ASSERT_GE(events.size(), 8u);
  std::string text;
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].name, events[i].data["type"]);
    EXPECT_EQ(events[i].data["sequence_number"], i);
    if (events[i].name == "response.output_text.delta")
      text += events[i].data["delta"].get<std::string>();
  }
  EXPECT_EQ(events.front().name, "response.created");
  EXPECT_EQ(events.back().name, "response.incomplete");
  EXPECT_EQ(text, whole["output"][0]["content"][0]["text"]);
  EXPECT_EQ(events.back().data["response"]["output"][0]["content"], whole["output"][0]["content"]);
}

TEST_F(ServerTest, MessagesStreamIsTheWholeInEvents) {
  StartServer();
  const json whole = json::parse(Post("/v1/messages", Ask()).body);
  const auto events = NamedEventsOf(Post("/v1/messages", Ask({{"stream", true}})).body);
  ASSERT_GE(events.size(), 6u);
  std::string text;
  for (const NamedEvent& event : events) {
    EXPECT_EQ(event.name, event.data["type"]);
    if (event.name == "content_block_delta") text += event.data["delta"]["text"].get<std::string>();
  }
  EXPECT_EQ(events[0].name, "message_start");
  EXPECT_EQ(events[1].name, "content_block_start");
  EXPECT_EQ(events[events.size() - 2].data["delta"]["stop_reason"], "max_tokens");
  EXPECT_EQ(events.back().name, "message_stop");
  EXPECT_EQ(text, whole["content"][0]["text"]);
}

// The fake template puts each message between <|im_start|> and <|im_end|>.
TEST_F(ServerTest, CountTokensCountsThePromptWithItsPrefill) {
  StartServer();
  const auto count = [&](json body) {
    body.erase("max_tokens");
    const ClientResponse response = Post("/v1/messages/count_tokens", body);
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body)["input_tokens"].get<int>();
  };
  EXPECT_EQ(count(Ask()), 3);
  EXPECT_EQ(count(Ask({{"system", "hello"}})), 6);
  json prefilled = Ask();
  prefilled["messages"].push_back({{"role", "assistant"}, {"content", " hello"}});
  EXPECT_EQ(count(prefilled), 4);  // no <|im_end|>: it is gone on with
  EXPECT_EQ(json::parse(Post("/v1/messages", prefilled).body)["usage"]["input_tokens"], 4);
}

TEST_F(ServerTest, MessagesErrorsHaveAnthropicsShape) {
  StartServer();
  json missing = Ask();
  missing.erase("max_tokens");
  const ClientResponse response = Post("/v1/messages", missing);
  EXPECT_EQ(response.status, 400);
  const json body = json::parse(response.body);
  EXPECT_EQ(body["type"], "error");
  EXPECT_EQ(body["error"]["type"], "invalid_request_error");
  EXPECT_NE(body["error"]["message"].get<std::string>().find("max_tokens"), std::string::npos);
  EXPECT_EQ(body["request_id"], response.headers.at("x-request-id"));
  const json unknown = json::parse(Post("/v1/messages", Ask({{"model", "other"}})).body);
  EXPECT_EQ(unknown["error"]["type"], "not_found_error");
}

TEST_F(ServerTest, WhatHttpRefusesHasTheShapeOfTheInterface) {
  ServerConfig config;
  config.http.max_body_bytes = 2000;
  config.http.max_header_bytes = 2000;
  StartServer(std::move(config));
  json large = Ask();
  large["system"] = std::string(3000, 'x');
  const ClientResponse refused = Post("/v1/messages", large);
  EXPECT_EQ(refused.status, 413);
  EXPECT_EQ(json::parse(refused.body)["type"], "error");
  EXPECT_EQ(json::parse(refused.body)["error"]["type"], "request_too_large");
  const std::string header = "x-long: " + std::string(3000, 'x') + "\r\n";
  const ClientResponse headers = Post("/v1/messages", Ask(), header);
  EXPECT_EQ(headers.status, 431);
  EXPECT_EQ(json::parse(headers.body)["type"], "error");
  EXPECT_EQ(json::parse(Post("/v1/messages/nothing", Ask()).body)["type"], "error");
  EXPECT_TRUE(json::parse(Post(kChatPath, Chat(), header).body)["error"].contains("param"));
}

TEST_F(ServerTest, ALimitOfAKeyComesBeforeItsGrammar) {
  auto keys = ParseKeyFile("secret requests-per-minute=1");
  ASSERT_TRUE(keys.ok());
  ServerConfig config;
  config.keys = ApiKeys(*std::move(keys));
  StartServer(std::move(config));
  const std::string header = "Authorization: Bearer secret\r\n";
  json bad = Chat();
  bad["grammar"] = "root ::= root";
  EXPECT_EQ(Post(kChatPath, bad, header).status, 400);
  EXPECT_EQ(Post(kChatPath, bad, header).status, 429);  // what was refused counts, too
}

TEST_F(ServerTest, AKeysOwnLimitPerMinuteIsToldWithItsWait) {
  auto keys = ParseKeyFile("secret name=web requests-per-minute=2");
  ASSERT_TRUE(keys.ok());
  ServerConfig config;
  config.keys = ApiKeys(*std::move(keys));
  StartServer(std::move(config));
  const std::string header = "Authorization: Bearer secret\r\n";
  EXPECT_EQ(Post(kChatPath, Chat(), header).status, 200);
  EXPECT_EQ(Post("/v1/messages", Ask(), header).status, 200);
  const ClientResponse refused = Post(kChatPath, Chat(), header);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(json::parse(refused.body)["error"]["type"], "rate_limit_error");
  const int wait = std::stoi(refused.headers.at("retry-after"));
  EXPECT_GE(wait, 25);
  EXPECT_LE(wait, 30);
  const ClientResponse message = Post("/v1/messages", Ask(), header);
  EXPECT_EQ(json::parse(message.body)["error"]["type"], "rate_limit_error");
  ASSERT_TRUE(Eventually([&] { return Records().size() == 4; }));
  EXPECT_EQ(Records()[0].key, "web");
}

}  // namespace
}  // namespace millrace
