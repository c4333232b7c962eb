// What is asked in the wrong way, the other routes, and who may ask.
#include "server/server_test_util.h"

namespace millrace {
namespace {

TEST_F(ServerTest, BadFieldsAreNamed) {
  StartServer();
  struct Case {
    json change;
    const char* param;
  };
  const json image = json::object({{"type", "image_url"}});
  const Case cases[] = {
      {{{"messages", nullptr}}, "messages"},
      {{{"messages", json::array()}}, "messages"},
      {{{"messages", json::array({1})}}, "messages[0]"},
      {{{"messages", json::array({Message("king", "x")})}}, "messages[0].role"},
      {{{"messages", json::array({Message("user", nullptr)})}}, "messages[0].content"},
      {{{"messages", json::array({Message("user", json::array({image}))})}}, "messages[0].content"},
      {{{"temperature", 3}}, "temperature"},
      {{{"temperature", "hot"}}, "temperature"},
      {{{"top_p", -1}}, "top_p"},
      {{{"n", 9}}, "n"},
      {{{"n", 1.5}}, "n"},
      {{{"max_tokens", 0}}, "max_tokens"},
      {{{"max_completion_tokens", -1}}, "max_completion_tokens"},
      {{{"stop", json::array({"a", "b", "c", "d", "e"})}}, "stop"},
      {{{"stop", 7}}, "stop"},
      {{{"seed", "x"}}, "seed"},
      {{{"logit_bias", {{"x", 1}}}}, "logit_bias"},
      {{{"logit_bias", {{"1", 101}}}}, "logit_bias"},
      {{{"top_logprobs", 21}, {"logprobs", true}}, "top_logprobs"},
      {{{"top_logprobs", 2}}, "top_logprobs"},
      {{{"presence_penalty", 2.5}}, "presence_penalty"},
      {{{"stream", 1}}, "stream"},
      {{{"stream_options", {{"include_usage", true}}}}, "stream_options"},
      {{{"response_format", {{"type", "json"}}}}, "response_format.type"},
      {{{"response_format", {{"type", "json_schema"}}}}, "response_format.json_schema"},
      {{{"tool_choice", "required"}}, "tool_choice"},
      {{{"grammar", "root ::= x"}}, "grammar"},
      {{{"documents", "d"}}, "documents"},
      {{{"tools", "x"}}, "tools"},
      {{{"ignore_eos", "yes"}}, "ignore_eos"},
      {{{"model", "other"}}, "model"},
  };
  TestClient client(port());
  for (const Case& c : cases) {
    json request = Chat();
    request.update(c.change);
    const ClientResponse response = client.Post(kChatPath, request.dump());
    EXPECT_EQ(response.status, std::string(c.param) == "model" ? 404 : 400) << c.change;
    const json error = json::parse(response.body)["error"];
    EXPECT_EQ(error["param"], c.param) << response.body;
    EXPECT_EQ(error["type"], "invalid_request_error");
    EXPECT_FALSE(error["message"].get<std::string>().empty());
  }
  EXPECT_EQ(client.Post(kChatPath, "{\"a\": ").status, 400);
  EXPECT_EQ(client.Post(kChatPath, "[]").status, 400);
  EXPECT_EQ(client.Post(kChatPath, "{\"model\": \"\xff\"}").status, 400);
  EXPECT_EQ(client.Post(kChatPath, std::string(100'000, '[')).status, 400);
  json raising = Chat();
  raising["messages"][0]["content"] = "raise";
  EXPECT_EQ(client.Post(kChatPath, raising.dump()).status, 400);
  json unknown = Chat();
  unknown["no_such_field"] = 1;
  EXPECT_EQ(client.Post(kChatPath, unknown.dump()).status, 200);
  json alias = Chat();
  alias["model"] = "gpt-4o-mini";
  EXPECT_EQ(client.Post(kChatPath, alias.dump()).status, 200);
}

TEST_F(ServerTest, StrictRefusesUnknownFields) {
  ServerConfig config;
  config.unknown_fields = UnknownFields::kRefuse;
  StartServer(std::move(config));
  EXPECT_EQ(Post(kChatPath, Chat()).status, 200);
  json request = Chat();
  request["no_such_field"] = 1;
  const ClientResponse response = Post(kChatPath, request);
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(json::parse(response.body)["error"]["param"], "no_such_field");
}

TEST_F(ServerTest, PromptsOverTheContextAreRefused) {
  StartServer();
  const json request = {{"prompt", std::string(5000, 'x')}};
  const ClientResponse response = Post(kTextPath, request);
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(json::parse(response.body)["error"]["code"], "context_length_exceeded");
}

TEST_F(ServerTest, OtherRoutes) {
  StartServer();
  TestClient client(port());
  EXPECT_EQ(client.Get("/health/live").status, 200);
  EXPECT_EQ(client.Get("/health/ready").status, 200);
  EXPECT_EQ(client.Get("/health").status, 200);
  EXPECT_EQ(json::parse(client.Get("/version").body)["version"], "test");
  EXPECT_EQ(json::parse(client.Get("/v1/models").body)["data"][0]["id"], "org/fake");
  EXPECT_EQ(json::parse(client.Get("/v1/models/org%2Ffake").body)["id"], "org/fake");
  EXPECT_EQ(json::parse(client.Get("/v1/models/x").body)["error"]["code"], "model_not_found");
  EXPECT_EQ(client.Get("/").status, 200);
  const ClientResponse nothing = client.Get("/nothing");
  EXPECT_EQ(nothing.status, 404);
  EXPECT_TRUE(json::parse(nothing.body)["error"].contains("message"));
  EXPECT_EQ(client.Get(kChatPath).status, 405);
  const json tokens = json::parse(client.Post("/tokenize", R"({"content": "hello"})").body);
  EXPECT_EQ(tokens["count"], tokens["tokens"].size());
  const ClientResponse text =
      client.Post("/detokenize", json::object({{"tokens", tokens["tokens"]}}).dump());
  EXPECT_EQ(json::parse(text.body)["content"], "hello");
  EXPECT_EQ(client.Post("/detokenize", R"({"tokens": [99999]})").status, 400);
  EXPECT_EQ(client.Post("/tokenize", "{}").status, 400);
}

// Every route that there is, and none that is not, with a word on it.
TEST_F(ServerTest, TheDocumentHasEveryRoute) {
  ServerConfig config;
  config.debug_endpoints = true;
  config.dashboard.emplace();
  config.dashboard->files = {{"/", "text/html", "page", ""},
                             {"/app.js", "text/javascript", "", ""}};
  config.dashboard->measure = {.start = [](const auto&, double) { return Status(); },
                               .state = [] { return MeasureState(); },
                               .cancel = [] {},
                               .report = [] { return std::string(); }};
  StartServer(std::move(config));
  const json document = json::parse(TestClient(port()).Get("/openapi.json").body);
  int operations = 0;
  for (const auto& [path, methods] : document["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      ++operations;
      EXPECT_FALSE(operation.value("summary", "").empty()) << method << " " << path;
      if (path == "/debug/events") continue;  // goes on
      std::string target = path, name = method;
      for (size_t at; (at = target.find('{')) != std::string::npos;) {
        target.replace(at, target.find('}') - at + 1, "x");
      }
      for (char& c : name) c = static_cast<char>(c & ~0x20);
      TestClient client(port());
      client.Send(name + " " + target + " HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n");
      const ClientResponse response = client.ReadResponse();
      EXPECT_NE(response.status, 405) << method << " " << path;
      EXPECT_EQ(response.body.find("There is nothing at"), std::string::npos) << method << " " << path;
    }
  }
  EXPECT_GE(operations, 40);
  for (const char* path : {"/",
                           "/version",
                           "/metrics",
                           "/health/live",
                           "/health/ready",
                           "/openapi.json",
                           "/v1/models",
                           "/v1/models/{id}",
                           "/v1/insights",
                           "/v1/chat/completions",
                           "/v1/completions",
                           "/v1/responses",
                           "/v1/messages",
                           "/v1/messages/count_tokens",
                           "/v1/embeddings",
                           "/v1/rerank",
                           "/v1/vector_stores",
                           "/v1/vector_stores/{id}",
                           "/tokenize",
                           "/detokenize",
                           "/debug/timeline",
                           "/debug/kv",
                           "/debug/about",
                           "/debug/samples",
                           "/debug/attention",
                           "/debug/comparison",
                           "/debug/measure",
                           "/debug/events"}) {
    EXPECT_TRUE(document["paths"].contains(path)) << path;
  }
  EXPECT_FALSE(document["paths"].contains("/app.js"));
}

TEST_F(ServerTest, ApiKeys) {
  ServerConfig config;
  config.keys = ApiKeys::Plain({"secret-one", "secret-two"});
  StartServer(std::move(config));
  TestClient client(port());
  EXPECT_EQ(client.Get("/health/live").status, 200);
  EXPECT_EQ(client.Get("/v1/models").status, 401);
  EXPECT_EQ(client.Get("/").status, 401);
  EXPECT_EQ(client.Get("/v1/models", "Authorization: Bearer secret-two\r\n").status, 200);
  EXPECT_EQ(client.Get("/v1/models", "authorization: bearer secret-two\r\n").status, 200);
  EXPECT_EQ(client.Get("/v1/models", "x-api-key: secret-one\r\n").status, 200);
  EXPECT_EQ(client.Get("/v1/models", "x-api-key: secret\r\n").status, 401);
  for (const char* wrong : {"Bearer secret-on", "Bearer secret-one1", "Bearer ", "secret-one",
                            "Bearer secret-onesecret-one"}) {
    EXPECT_EQ(client.Get("/v1/models", std::string("Authorization: ") + wrong + "\r\n").status,
              401);
  }
}

TEST_F(ServerTest, NeedsKeysWhereOthersCanReachIt) {
  StartServer();
  for (const char* address : {"0.0.0.0", "::"}) {
    ServerConfig config;
    config.http.address = address;
    config.random = [] { return uint64_t{1}; };
    ServedModel served;
    served.tokenizer = &*tokenizer_;
    served.engine = engine_.get();
    Server open(std::move(config), served);
    EXPECT_FALSE(open.Start().ok());
  }
}

}  // namespace
}  // namespace millrace
