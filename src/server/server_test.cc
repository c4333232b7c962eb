// The whole way from a socket to an engine on a FakeModel and back.
#include "server/server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/fake_model.h"
#include "http/test_client.h"
#include "server/request_context.h"
#include "tokenizer/tokenizer_test_vocabulary.h"

namespace millrace {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr char kChatPath[] = "/v1/chat/completions";
constexpr char kTextPath[] = "/v1/completions";

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto tokenizer = BytePairVocabulary().Load();
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    tokenizer_.emplace(std::move(tokenizer).value());
  }

  void StartServer(ServerConfig config = {}, milliseconds step_time = milliseconds(0)) {
    EngineConfig engine_config;
    engine_config.context_length = 2048;
    engine_config.scheduler.max_running = max_running_;
    engine_config.max_queued_requests = max_queue_;
    auto kv = KvStore::Create(FakeModel::Shape(), KvType::kF32, 4096);
    ASSERT_TRUE(kv.ok());
    auto model = std::make_unique<FakeModel>(tokenizer_->vocab_size());
    model->on_batch = [step_time](const Batch&) { std::this_thread::sleep_for(step_time); };
    engine_ = std::make_unique<Engine>(engine_config, std::move(model), std::move(kv).value());
    engine_thread_ = std::thread([this] { engine_->Run(); });
    config.log = [this](const RequestRecord& record) {
      std::lock_guard lock(mutex_);
      records_.push_back(record);
    };
    config.random = [this] { return ++random_; };
    config.version = "test";
    ServedModel served;
    served.id = "org/fake";
    served.aliases = {"gpt-4o-mini"};
    served.tokenizer = &*tokenizer_;
    served.engine = engine_.get();
    served.render_chat = [](std::string_view chat) -> Result<std::string> {
      std::string text;
      const json parsed = json::parse(chat);
      for (const auto& message : parsed["messages"]) {
        if (message["content"] == "raise") return Error{"the template raises"};
        text += "<|im_start|>" + message["content"].get<std::string>() + "<|im_end|>";
      }
      return text;
    };
    server_ = std::make_unique<Server>(std::move(config), std::move(served));
    const Status started = server_->Start();
    ASSERT_TRUE(started.ok()) << started.error().message;
  }
  void TearDown() override {
    server_.reset();
    if (engine_) engine_->Stop();
    if (engine_thread_.joinable()) engine_thread_.join();
  }

  uint16_t port() const { return server_->port(); }
  std::vector<RequestRecord> Records() {
    std::lock_guard lock(mutex_);
    return records_;
  }
  static json Message(const char* role, const json& content) {
    json message = json::object();
    message["role"] = role;
    message["content"] = content;
    return message;
  }
  static json Chat(int max_tokens = 12) {
    return {{"model", "org/fake"},
            {"messages", json::array({Message("user", "hello")})},
            {"max_completion_tokens", max_tokens},
            {"seed", 5},
            {"ignore_eos", true}};
  }
  ClientResponse Post(const std::string& path, const json& body, const std::string& headers = "") {
    return TestClient(port()).Post(path, body.dump(), headers);
  }
  static std::vector<std::string> EventsOf(const std::string& body) {
    std::vector<std::string> events;
    for (size_t at = 0; at < body.size();) {
      const size_t end = body.find("\n\n", at);
      if (end == std::string::npos || body.substr(at, 6) != "data: ") {
        ADD_FAILURE() << "no event stream: " << body.substr(at, 200);
        break;
      }
      events.push_back(body.substr(at + 6, end - at - 6));
      at = end + 2;
    }
    return events;
  }

  int32_t max_running_ = 80;
  int32_t max_queue_ = 256;
  std::optional<Tokenizer> tokenizer_;
  std::unique_ptr<Engine> engine_;
  std::thread engine_thread_;
  std::unique_ptr<Server> server_;
  std::mutex mutex_;
  std::vector<RequestRecord> records_;
  std::atomic<uint64_t> random_{100};
};

TEST_F(ServerTest, WholeChatCompletion) {
  StartServer();
  const ClientResponse response = Post(kChatPath, Chat());
  ASSERT_EQ(response.status, 200) << response.body;
  const json body = json::parse(response.body);
  EXPECT_EQ(body["object"], "chat.completion");
  EXPECT_EQ(body["model"], "org/fake");
  EXPECT_EQ(body["choices"].size(), 1u);
  EXPECT_EQ(body["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_FALSE(body["choices"][0]["message"]["content"].get<std::string>().empty());
  EXPECT_EQ(body["usage"]["prompt_tokens"], 3);  // <|im_start|> hello <|im_end|>
  EXPECT_EQ(body["usage"]["completion_tokens"], 12);
  EXPECT_EQ(body["usage"]["total_tokens"], 15);
  EXPECT_EQ(body["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
  EXPECT_EQ(body["usage"]["millrace"]["computed_tokens"], 14);
  EXPECT_TRUE(response.headers.count("x-millrace-savings"));
  ASSERT_TRUE(Eventually([&] { return Records().size() == 1; }));
  const RequestRecord record = Records()[0];
  EXPECT_EQ(record.id, response.headers.at("x-request-id"));
  EXPECT_EQ(record.route, "POST /v1/chat/completions");
  EXPECT_EQ(record.status, 200);
  EXPECT_EQ(record.output_tokens, 12);
  // The same seed gives the same text; another seed another one.
  EXPECT_EQ(json::parse(Post(kChatPath, Chat()).body)["choices"], body["choices"]);
  json other = Chat();
  other["seed"] = 6;
  EXPECT_NE(json::parse(Post(kChatPath, other).body)["choices"], body["choices"]);
}

TEST_F(ServerTest, StreamIsTheSameTextInPieces) {
  StartServer();
  json request = Chat(40);
  const json whole = json::parse(Post(kChatPath, request).body);
  request["stream"] = true;
  request["stream_options"] = {{"include_usage", true}};
  const ClientResponse response = Post(kChatPath, request);
  EXPECT_EQ(response.headers.at("content-type"), "text/event-stream");
  const std::vector<std::string> events = EventsOf(response.body);
  ASSERT_GE(events.size(), 4u);
  EXPECT_EQ(events.back(), "[DONE]");
  std::string text;
  for (size_t i = 0; i + 2 < events.size(); ++i) {
    const json chunk = json::parse(events[i]);
    EXPECT_EQ(chunk["object"], "chat.completion.chunk");
    EXPECT_TRUE(chunk["usage"].is_null());
    const json& choice = chunk["choices"].at(0);
    if (i == 0) {
      EXPECT_EQ(choice["delta"]["role"], "assistant");
    }
    if (choice["delta"].contains("content")) text += choice["delta"]["content"].get<std::string>();
    EXPECT_EQ(choice["finish_reason"].is_null(), i + 3 < events.size());
  }
  EXPECT_EQ(text, whole["choices"][0]["message"]["content"]);
  const json usage = json::parse(events[events.size() - 2]);
  EXPECT_TRUE(usage["choices"].empty());
  EXPECT_EQ(usage["usage"]["completion_tokens"], 40);
}

TEST_F(ServerTest, StopStringsEndTheTextAndTheRequest) {
  StartServer();
  json request = Chat(200);
  request["temperature"] = 0;
  const json whole = json::parse(Post(kChatPath, request).body);
  const std::string text = whole["choices"][0]["message"]["content"];
  // The first printable character of the text that stands behind its beginning.
  size_t at = text.size() / 2;
  while (at < text.size() && (text[at] < '!' || text[at] > '~')) ++at;
  ASSERT_LT(at, text.size());
  const std::string stop(1, text[at]);
  request["stop"] = json::array({stop});
  const json cut = json::parse(Post(kChatPath, request).body);
  EXPECT_EQ(cut["choices"][0]["message"]["content"], text.substr(0, text.find(stop)));
  EXPECT_EQ(cut["choices"][0]["finish_reason"], "stop");
  EXPECT_LT(cut["usage"]["completion_tokens"], 200);
  EXPECT_TRUE(Eventually([&] { return engine_->stats().running == 0; }));
}

TEST_F(ServerTest, ChoicesHaveDerivedSeeds) {
  StartServer();
  json request = Chat();
  request["n"] = 3;
  const json body = json::parse(Post(kChatPath, request).body);
  ASSERT_EQ(body["choices"].size(), 3u);
  EXPECT_EQ(body["usage"]["prompt_tokens"], 3);
  EXPECT_EQ(body["usage"]["completion_tokens"], 36);
  for (int i = 0; i < 3; ++i) {
    json alone = Chat();
    alone["seed"] = 5 + i;
    EXPECT_EQ(json::parse(Post(kChatPath, alone).body)["choices"][0]["message"],
              body["choices"][static_cast<size_t>(i)]["message"]);
  }
}

TEST_F(ServerTest, Logprobs) {
  StartServer();
  json request = Chat(5);
  request["logprobs"] = true;
  request["top_logprobs"] = 2;
  const json body = json::parse(Post(kChatPath, request).body);
  const json& content = body["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 5u);
  for (const json& token : content) {
    EXPECT_LE(token["logprob"], 0.0);
    EXPECT_FALSE(token["bytes"].empty());
    ASSERT_EQ(token["top_logprobs"].size(), 2u);
    EXPECT_GE(token["top_logprobs"][0]["logprob"], token["top_logprobs"][1]["logprob"]);
  }
  const json text = {{"prompt", "hello"}, {"max_tokens", 4}, {"logprobs", 1}, {"ignore_eos", true}};
  const json completion = json::parse(Post(kTextPath, text).body);
  EXPECT_EQ(completion["choices"][0]["logprobs"]["tokens"].size(), 4u);
  EXPECT_EQ(completion["choices"][0]["logprobs"]["text_offset"][0], 0);
}

TEST_F(ServerTest, CompletionsTakeEveryKindOfPrompt) {
  StartServer();
  const json common = {{"max_tokens", 6}, {"temperature", 0}, {"ignore_eos", true}};
  const auto post = [&](const json& prompt) {
    json request = common;
    request["prompt"] = prompt;
    const ClientResponse response = Post(kTextPath, request);
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body);
  };
  const json one = post("hello");
  EXPECT_EQ(one["object"], "text_completion");
  const int32_t id = tokenizer_->Encode("hello", SpecialTokens::kAsText)[0].value;
  EXPECT_EQ(post(json::array({id}))["choices"][0]["text"], one["choices"][0]["text"]);
  const json two = post(json::array({"hello", "aaaa"}));
  ASSERT_EQ(two["choices"].size(), 2u);
  EXPECT_EQ(two["choices"][0]["text"], one["choices"][0]["text"]);
  const json arrays = post(json::array({json::array({id}), json::array({1, 2})}));
  EXPECT_EQ(arrays["choices"][0]["text"], one["choices"][0]["text"]);
  EXPECT_EQ(arrays["usage"]["prompt_tokens"], 3);
}

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
      {{{"response_format", {{"type", "json_object"}}}}, "response_format"},
      {{{"tool_choice", "required"}}, "tool_choice"},
      {{{"grammar", "root ::= x"}}, "grammar"},
      {{{"documents", json::array({"d"})}}, "documents"},
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
  for (const char* name : {"suffix", "echo"}) {
    const json request = {{"prompt", "x"},
                          {name, name == std::string("echo") ? json(true) : json("y")}};
    EXPECT_EQ(json::parse(client.Post(kTextPath, request.dump()).body)["error"]["param"], name);
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

TEST_F(ServerTest, ApiKeys) {
  ServerConfig config;
  config.keys = ApiKeys({"secret-one", "secret-two"});
  StartServer(std::move(config));
  TestClient client(port());
  EXPECT_EQ(client.Get("/health/live").status, 200);
  EXPECT_EQ(client.Get("/v1/models").status, 401);
  EXPECT_EQ(client.Get("/").status, 401);
  EXPECT_EQ(client.Get("/v1/models", "Authorization: Bearer secret-two\r\n").status, 200);
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

TEST_F(ServerTest, AClientThatLeavesIsCancelled) {
  StartServer({}, milliseconds(5));
  for (const bool stream : {false, true}) {
    json request = Chat(2000);
    request["stream"] = stream;
    const size_t before = Records().size();
    {
      TestClient client(port());
      client.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " +
                  std::to_string(request.dump().size()) + "\r\n\r\n" + request.dump());
      ASSERT_TRUE(Eventually([&] { return engine_->stats().running == 1; }));
    }
    const int64_t steps = engine_->stats().steps;
    ASSERT_TRUE(Eventually([&] { return engine_->stats().running == 0; }));
    EXPECT_LT(engine_->stats().steps - steps, 1000);  // long before its 2000 tokens
    ASSERT_TRUE(Eventually([&] { return Records().size() == before + 1; }));
    EXPECT_EQ(Records().back().end, EndState::kCancelled);
    EXPECT_EQ(Records().back().status, 499);
  }
}

TEST_F(ServerTest, ManyStreamsSomeCut) {
  StartServer();
  constexpr int kStreams = 64;
  std::atomic<int> complete{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kStreams; ++t) {
    threads.emplace_back([&, t] {
      json request = Chat(60);
      request["stream"] = true;
      request["seed"] = t;
      TestClient client(port());
      const std::string body = request.dump();
      client.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " +
                  std::to_string(body.size()) + "\r\n\r\n" + body);
      if (t % 5 == 0) {
        bool ended = false;
        if (client.ReadHead().status == 200) client.ReadChunk(ended);
        client.Reset();
        return;
      }
      const ClientResponse response = client.ReadResponse();
      if (response.complete && response.body.ends_with("data: [DONE]\n\n")) ++complete;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(complete, kStreams - 13);
  EXPECT_TRUE(Eventually([&] { return engine_->stats().running + engine_->stats().waiting == 0; }));
  EXPECT_TRUE(Eventually([&] { return Records().size() == kStreams; }));  // one line for each
  EXPECT_EQ(engine_->stats().blocks_held, 0);
}

TEST_F(ServerTest, DrainFinishesWhatRuns) {
  StartServer({}, milliseconds(2));
  TestClient client(port());
  json request = Chat(100);
  request["stream"] = true;
  const std::string body = request.dump();
  client.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n" + body);
  ASSERT_TRUE(Eventually([&] { return engine_->stats().running == 1; }));
  TestClient probe(port());
  ASSERT_EQ(probe.Get("/health/ready").status, 200);
  std::atomic<bool> graceful{false};
  std::thread drainer([&] { graceful = server_->Drain(kClientPatience); });
  EXPECT_TRUE(client.ReadResponse().body.ends_with("data: [DONE]\n\n"));
  drainer.join();
  EXPECT_TRUE(graceful);
  EXPECT_FALSE(TestClient(port()).connected());
}

TEST_F(ServerTest, DrainCutsAtItsLimit) {
  StartServer({}, milliseconds(5));
  TestClient client(port());
  json request = Chat(2000);
  request["stream"] = true;
  const std::string body = request.dump();
  client.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n" + body);
  ASSERT_TRUE(Eventually([&] { return engine_->stats().running == 1; }));
  EXPECT_FALSE(server_->Drain(milliseconds(50)));
  EXPECT_FALSE(client.ReadResponse().complete);
  EXPECT_TRUE(Eventually([&] { return engine_->stats().running == 0; }));
  EXPECT_EQ(Records().size(), 1u);
}

TEST(ParseKeyFile, LinesAndComments) {
  EXPECT_EQ(ParseKeyFile("# keys\none\n\ntwo \r\n"), (std::vector<std::string>{"one", "two"}));
  EXPECT_TRUE(IsLoopback("127.0.0.1"));
  EXPECT_TRUE(IsLoopback("::1"));
  EXPECT_FALSE(IsLoopback("0.0.0.0"));
}

// The prefix cache over HTTP: usage says what was taken from it, keys and salts keep it apart.
class PrefixServerTest : public ServerTest {
 protected:
  static json LongText(const json& change = json::object()) {
    json ids = json::array();
    for (int i = 0; i < 100; ++i) ids.push_back(1 + i % 7);
    json request = {{"prompt", ids}, {"max_tokens", 4}, {"temperature", 0}, {"ignore_eos", true}};
    request.update(change);
    return request;
  }
  int CachedTokens(const json& request, const std::string& headers = "") {
    const ClientResponse response = Post(kTextPath, request, headers);
    EXPECT_EQ(response.status, 200) << response.body;
    const json usage = json::parse(response.body)["usage"];
    const int cached = usage["prompt_tokens_details"]["cached_tokens"];
    EXPECT_EQ(usage["millrace"]["computed_tokens"], 100 - cached + 3);
    return cached;
  }
};

TEST_F(PrefixServerTest, UsageAndMetricsSayWhatWasCached) {
  StartServer();
  EXPECT_EQ(CachedTokens(LongText()), 0);
  EXPECT_EQ(CachedTokens(LongText()), 99);
  EXPECT_EQ(CachedTokens(LongText({{"cache_salt", "mine"}})), 0);
  EXPECT_EQ(CachedTokens(LongText({{"cache_salt", "mine"}})), 99);
  EXPECT_EQ(CachedTokens(LongText({{"millrace", {{"prefix_cache", "off"}}}})), 0);
  const ClientResponse metrics = TestClient(port()).Get("/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_NE(metrics.body.find("\nmillrace:prefix_cache_queries 400\n"), std::string::npos);
  EXPECT_NE(metrics.body.find("\nmillrace:prefix_cache_hits 198\n"), std::string::npos);
  EXPECT_NE(metrics.body.find("\nmillrace:num_requests_running 0\n"), std::string::npos);
}

TEST_F(PrefixServerTest, ChoicesOfOnePromptCountItOnce) {
  StartServer();
  const json usage = json::parse(Post(kTextPath, LongText({{"n", 4}})).body)["usage"];
  EXPECT_EQ(usage["prompt_tokens"], 100);
  EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], 0);
  EXPECT_EQ(usage["millrace"]["computed_tokens"], 100 + 3 + 4 * 3);
}

TEST_F(PrefixServerTest, KeysAreApart) {
  ServerConfig config;
  config.keys = ApiKeys({"alice", "bob"});
  StartServer(std::move(config));
  EXPECT_EQ(CachedTokens(LongText(), "Authorization: Bearer alice\r\n"), 0);
  EXPECT_EQ(CachedTokens(LongText(), "Authorization: Bearer bob\r\n"), 0);
  EXPECT_EQ(CachedTokens(LongText(), "Authorization: Bearer alice\r\n"), 99);
}

TEST_F(PrefixServerTest, PinsAreTaken) {
  StartServer();
  CachedTokens(LongText({{"millrace", {{"pin", true}}}}));
  EXPECT_EQ(engine_->stats().blocks_pinned, 3);
  CachedTokens(LongText({{"millrace", {{"pin", false}}}}));
  EXPECT_EQ(engine_->stats().blocks_pinned, 0);
}

class OverloadServerTest : public ServerTest {
 protected:
  // A request that keeps a place for long, straight to the engine.
  RequestId Occupy() {
    Request request;
    request.prompt = {TokenId(1)};
    request.max_tokens = 2000;
    const auto id = engine_->Submit(request, [](const Event&) {});
    EXPECT_TRUE(id.ok());
    return id.ok() ? *id : RequestId();
  }
  void WaitFor(const std::function<bool(const EngineStats&)>& state) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!state(engine_->stats())) {
      ASSERT_LT(std::chrono::steady_clock::now(), end) << "waited in vain";
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
};

TEST_F(OverloadServerTest, AFullQueueSaysWhenToComeBack) {
  max_running_ = 1;
  max_queue_ = 1;
  StartServer({}, milliseconds(10));
  const RequestId running = Occupy();
  WaitFor([](const EngineStats& s) { return s.running == 1 && s.waiting == 0; });
  const RequestId waiting = Occupy();
  const ClientResponse refused = Post(kChatPath, Chat());
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(json::parse(refused.body)["error"]["code"], "overloaded");
  ASSERT_TRUE(refused.headers.contains("retry-after"));
  EXPECT_GE(std::stoi(refused.headers.at("retry-after")), 1);
  engine_->Cancel(running);
  engine_->Cancel(waiting);
  WaitFor([](const EngineStats& s) { return s.running + s.waiting == 0; });
  EXPECT_EQ(Post(kChatPath, Chat()).status, 200);
}

TEST_F(OverloadServerTest, AKeyHasALimitOfItsOwn) {
  max_running_ = 1;
  ServerConfig config;
  config.keys = ApiKeys({"one", "two"});
  config.max_requests_per_key = 1;
  StartServer(std::move(config), milliseconds(2));
  const RequestId running = Occupy();
  WaitFor([](const EngineStats& s) { return s.running == 1; });
  std::thread first(
      [&] { EXPECT_EQ(Post(kChatPath, Chat(), "Authorization: Bearer one\r\n").status, 200); });
  WaitFor([](const EngineStats& s) { return s.waiting == 1; });
  // However the scheme is written.
  for (const char* header : {"Authorization: Bearer one\r\n", "Authorization: bEARER one\r\n"}) {
    const ClientResponse refused = Post(kChatPath, Chat(), header);
    EXPECT_EQ(refused.status, 429);
    EXPECT_EQ(json::parse(refused.body)["error"]["code"], "rate_limit_exceeded");
    EXPECT_TRUE(refused.headers.contains("retry-after"));
  }
  engine_->Cancel(running);
  EXPECT_EQ(Post(kChatPath, Chat(), "Authorization: Bearer two\r\n").status, 200);
  first.join();
  for (int i = 0; i < 5; ++i) {  // the place is free again when the answer is there
    EXPECT_EQ(Post(kChatPath, Chat(), "Authorization: Bearer one\r\n").status, 200);
  }
}

TEST(RetryAfterTest, WholeSecondsInBounds) {
  const auto stated = [](Duration time) {
    for (const HttpHeader& h :
         server_internal::ErrorResponse(HttpApiError(503, "x"), time).headers) {
      if (h.name == "Retry-After") return h.value;
    }
    return std::string("none");
  };
  EXPECT_EQ(stated(milliseconds(2500)), "3");
  EXPECT_EQ(stated(milliseconds(0)), "1");
  EXPECT_EQ(stated(std::chrono::hours(5)), "600");
}

}  // namespace
}  // namespace millrace
