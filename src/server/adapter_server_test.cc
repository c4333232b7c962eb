// Adapters over HTTP: models by their names, several at once, apart in the prefix cache.
#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "server/server_test_util.h"

namespace millrace {
namespace {

class AdapterServerTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    adapters_ = {"alice", "bob"};
  }
  static json ChatOf(const std::string& model, const json& change = json::object()) {
    json request = Chat(40);
    request["model"] = model;
    request.update(change);
    return request;
  }
  json Answer(const std::string& path, const json& request) {
    const ClientResponse response = Post(path, request);
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body);
  }
  std::string TextOf(const std::string& model) {
    return Answer(kChatPath, ChatOf(model))["choices"][0]["message"]["content"];
  }
};

TEST_F(AdapterServerTest, AdaptersAreModels) {
  StartServer();
  const json list = json::parse(TestClient(port()).Get("/v1/models").body)["data"];
  std::map<std::string, json> parents;
  for (const json& model : list) parents[model["id"]] = model.value("parent", json());
  const std::map<std::string, json> expected = {
      {"org/fake", nullptr},          {"gpt-4o-mini", nullptr}, {"alice", "org/fake"},
      {"org/fake:alice", "org/fake"}, {"bob", "org/fake"},      {"org/fake:bob", "org/fake"}};
  EXPECT_EQ(parents, expected);
  for (const char* name : {"alice", "org/fake:bob"}) {
    const ClientResponse one = TestClient(port()).Get(std::string("/v1/models/") + name);
    EXPECT_EQ(one.status, 200);
    EXPECT_EQ(json::parse(one.body)["id"], name);
  }
}

TEST_F(AdapterServerTest, TheModelChoosesTheAdapter) {
  StartServer();
  const std::string base = TextOf("org/fake"), alice = TextOf("alice"), bob = TextOf("bob");
  EXPECT_NE(alice, base);
  EXPECT_NE(bob, base);
  EXPECT_NE(alice, bob);
  EXPECT_EQ(TextOf("org/fake:alice"), alice);
  EXPECT_EQ(TextOf("gpt-4o-mini:bob"), bob);
  EXPECT_EQ(TextOf("gpt-4o-mini"), base);
  EXPECT_EQ(Answer(kChatPath, ChatOf("org/fake:alice"))["model"], "alice");
  EXPECT_EQ(Answer(kChatPath, ChatOf("gpt-4o-mini"))["model"], "org/fake");

  // The other dialects, and a stream.
  const json respond = {{"model", "alice"},
                        {"input", "hello"},
                        {"max_output_tokens", 40},
                        {"ignore_eos", true},
                        {"seed", 5}};
  const json response = Answer("/v1/responses", respond);
  EXPECT_EQ(response["output"][0]["content"][0]["text"], alice);
  EXPECT_EQ(response["model"], "alice");
  json ask = ChatOf("bob", {{"max_tokens", 40}});
  ask.erase("max_completion_tokens");
  EXPECT_EQ(Answer("/v1/messages", ask)["content"][0]["text"], bob);
  const ClientResponse stream = Post(kChatPath, ChatOf("alice", {{"stream", true}}));
  std::string streamed;
  for (const std::string& event : EventsOf(stream.body)) {
    if (event == "[DONE]") continue;
    const json chunk = json::parse(event);
    EXPECT_EQ(chunk["model"], "alice");
    streamed += chunk["choices"][0]["delta"].value("content", "");
  }
  EXPECT_EQ(streamed, alice);
}

// What /metrics counts by adapter is what the answers' usage says; only names that the server was
// started with are labels.
TEST_F(AdapterServerTest, MetricsCountByAdapter) {
  StartServer();
  std::map<std::string, int> prompt, generated, requests;
  for (const char* model : {"alice", "org/fake:alice", "org/fake", "gpt-4o-mini:bob"}) {
    const json answer = Answer(kChatPath, ChatOf(model, {{"n", 2}}));
    const std::string name = answer["model"];
    prompt[name] += answer["usage"]["prompt_tokens"].get<int>();
    generated[name] += answer["usage"]["completion_tokens"].get<int>();
    ++requests[name];
  }
  Post(kChatPath, ChatOf("carol"));
  // The last log line may come a moment after its answer.
  std::string text;
  const auto value = [&](const std::string& name) {
    const size_t at = text.find("\n" + name + " ");
    return at == text.npos ? -1 : std::stoi(text.substr(at + name.size() + 2));
  };
  for (int i = 0; i < 200; ++i) {
    text = TestClient(port()).Get("/metrics").body;
    if (value("millrace:adapter_requests_total{adapter=\"bob\"}") == requests["bob"]) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  for (const std::string adapter : {"alice", "bob"}) {
    const std::string label = "{adapter=\"" + adapter + "\"}";
    EXPECT_EQ(value("millrace:adapter_requests_total" + label), requests[adapter]);
    EXPECT_EQ(value("millrace:adapter_prompt_tokens_total" + label), prompt[adapter]);
    EXPECT_EQ(value("millrace:adapter_generation_tokens_total" + label), generated[adapter]);
  }
  EXPECT_EQ(value("millrace:generation_tokens_total"),
            generated["alice"] + generated["bob"] + generated["org/fake"]);
  EXPECT_EQ(text.find("carol"), text.npos);
}

TEST_F(AdapterServerTest, UnknownNamesAreRefusedAsBefore) {
  StartServer();
  for (const char* name : {"carol", "org/fake:carol", "alice:org/fake", "alice:alice", ":alice",
                           "nobody:alice", "org/fake:", "Alice", "alic"}) {
    const ClientResponse response = Post(kChatPath, ChatOf(name));
    EXPECT_EQ(response.status, 404) << name;
    const json error = json::parse(response.body)["error"];
    EXPECT_EQ(error["code"], "model_not_found");
    EXPECT_EQ(error["param"], "model");
  }
}

TEST_F(AdapterServerTest, ManyAtOnceGetWhatEachGetsAlone) {
  max_running_ = 8;
  StartServer({}, milliseconds(1));
  const std::string models[] = {"org/fake", "alice", "bob"};
  std::map<std::string, std::string> alone;
  for (const std::string& model : models) alone[model] = TextOf(model);
  std::vector<std::string> texts(24);
  std::vector<std::thread> clients;
  for (size_t i = 0; i < texts.size(); ++i)
    clients.emplace_back([&, i] { texts[i] = TextOf(models[i % 3]); });
  for (std::thread& client : clients) client.join();
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(texts[i], alone[models[i % 3]]) << i;
}

TEST_F(AdapterServerTest, TheSamePromptIsCachedPerAdapter) {
  StartServer();
  const auto cached = [this](const std::string& model) {
    json ids = json::array();
    for (int i = 0; i < 100; ++i) ids.push_back(1 + i % 7);
    const json request = {{"model", model}, {"prompt", ids}, {"max_tokens", 4}, {"temperature", 0}};
    return Answer(kTextPath, request)["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
  };
  for (const char* model : {"org/fake", "alice", "bob"}) EXPECT_EQ(cached(model), 0);
  for (const char* model : {"bob", "org/fake:alice", "org/fake"}) EXPECT_EQ(cached(model), 99);
}

TEST_F(AdapterServerTest, TheRequestLogNamesTheAdapter) {
  StartServer();
  for (const char* model : {"org/fake", "alice", "org/fake:bob"}) TextOf(model);
  std::vector<std::string> names;
  for (const RequestRecord& record : Records()) {
    ASSERT_TRUE(record.generation);
    names.push_back(record.generation->adapter);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"", "alice", "bob"}));
}

}  // namespace
}  // namespace millrace
