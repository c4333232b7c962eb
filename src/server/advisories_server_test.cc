// Published advisories about servers of this kind, over HTTP: what crashed, stalled or betrayed
// another one gets a refusal here, and the next request its answer. docs/SECURITY.md lists them.
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "prompt_reduction/passage_store.h"
#include "server/output_grammars.h"
#include "server/server_test_util.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using testing::Not;

class AdvisoriesServerTest : public ServerTest {
 protected:
  // Refused with a sentence, or answered; and the server goes on.
  int StatusOf(const std::string& path, const json& body) {
    const ClientResponse response = Post(path, body);
    EXPECT_TRUE(response.status == 200 || (response.status >= 400 && response.status < 500))
        << path << " " << body.dump().substr(0, 300) << ": " << response.status;
    if (response.status != 200) {
      const json refusal = json::parse(response.body, nullptr, false);
      EXPECT_FALSE(refusal.is_discarded()) << response.body.substr(0, 300);
      EXPECT_FALSE(refusal["error"]["message"].get<std::string>().empty()) << path;
    }
    return response.status;
  }
  void ExpectWell() {
    EXPECT_EQ(Post(kChatPath, Chat(2)).status, 200);
    EXPECT_EQ(TestClient(port()).Get("/health/ready").status, 200);
  }
  static json LeastBodyOf(const std::string& path) {
    if (path == kTextPath) return {{"prompt", "hello"}, {"max_tokens", 1}};
    if (path == "/v1/responses") return {{"input", "hello"}, {"max_output_tokens", 16}};
    if (path == "/tokenize") return {{"content", "hello"}};
    if (path == "/detokenize") return {{"tokens", json::array({1})}};
    return {{"messages", json::array({Message("user", "hello")})}, {"max_tokens", 1}};
  }
};

// CVE-2026-21869 (llama.cpp): a negative n_discard wrote before the context. Every number of every
// route that generates, and the names that other servers read, below zero and past every range.
TEST_F(AdvisoriesServerTest, Cve202621869NegativeAndHugeNumbersOfEveryField) {
  StartServer();
  const json document = json::parse(TestClient(port()).Get("/openapi.json").body);
  const std::vector<json> hostile = {-1,        -2,        INT32_MIN,  int64_t{INT32_MAX} + 1,
                                     INT64_MIN, INT64_MAX, UINT64_MAX, -0.5,
                                     -1e300,    1e300};
  int refused = 0;
  for (const std::string path : {kChatPath, kTextPath, "/v1/responses", "/v1/messages",
                                 "/v1/messages/count_tokens", "/tokenize", "/detokenize"}) {
    const std::string ref = document["paths"][path]["post"]["requestBody"]["content"]
                                    ["application/json"]["schema"]["$ref"];
    const std::string schema = ref.substr(ref.rfind('/') + 1);
    std::set<std::string> names = {"n_discard", "n_keep",      "n_predict", "n_probs",
                                   "num_ctx",   "id_slot",     "best_of",   "min_keep",
                                   "top_n",     "num_predict", "n",         "max_tokens"};
    for (const auto& [name, field] :
         document["components"]["schemas"][schema]["properties"].items())
      names.insert(name);
    for (const std::string& name : names) {
      for (const json& value : hostile) {
        json body = LeastBodyOf(path);
        body[name] = value;
        if (StatusOf(path, body) == 400) ++refused;
      }
      const std::string inner[] = {"budget_tokens", "max_num_results", "top", "priority"};
      for (const std::string& field : inner) {
        json body = LeastBodyOf(path);
        body[name] = json{{field, -1}};
        StatusOf(path, body);
      }
    }
    // What is negative is refused and not taken for a large number.
    for (const char* name : {"max_tokens", "top_logprobs", "n", "max_output_tokens"}) {
      if (!document["components"]["schemas"][schema]["properties"].contains(name)) continue;
      json body = LeastBodyOf(path);
      body[name] = -1;
      body["logprobs"] = true;
      if (path == "/v1/messages/count_tokens") continue;  // generates nothing
      EXPECT_EQ(StatusOf(path, body), 400) << path << " " << name;
    }
  }
  EXPECT_GT(refused, 500);
  ExpectWell();
  EXPECT_EQ(engine_->stats().running, 0);
}

// CVE-2025-48944, -48942 and -48943 (vLLM): tools and formats that do not compile, on every route
// that takes them.
TEST_F(AdvisoriesServerTest, Cve202548944ToolsAndFormatsThatDoNotCompile) {
  StartServer();
  const json schemas[] = {
      {{"type", "object"}, {"properties", {{"a", {{"type", "something"}}}}}},
      {{"type", "object"}, {"properties", {{"a", {{"type", "string"}, {"pattern", "\\d+{"}}}}}},
      {{"type", 5}},
      {{"$ref", "#"}},
      json::parse(R"({"anyOf":[{"$ref":"#"}]})")};
  for (const json& schema : schemas) {
    json chat = Chat(2);
    chat["tools"] =
        json::array({{{"type", "function"},
                      {"function", {{"name", "f"}, {"strict", true}, {"parameters", schema}}}}});
    chat["tool_choice"] = "required";
    EXPECT_EQ(StatusOf(kChatPath, chat), 400) << schema;
    json format = Chat(2);
    format["response_format"] = {{"type", "json_schema"},
                                 {"json_schema", {{"name", "a"}, {"schema", schema}}}};
    EXPECT_EQ(StatusOf(kChatPath, format), 400) << schema;
    json responses = LeastBodyOf("/v1/responses");
    responses["text"] = {{"format", {{"type", "json_schema"}, {"name", "a"}, {"schema", schema}}}};
    EXPECT_EQ(StatusOf("/v1/responses", responses), 400) << schema;
    json messages = LeastBodyOf("/v1/messages");
    messages["tools"] = json::array({{{"name", "f"}, {"input_schema", schema}}});
    messages["tool_choice"] = {{"type", "any"}};
    EXPECT_EQ(StatusOf("/v1/messages", messages), 400) << schema;
  }
  for (const char* field : {"grammar", "guided_regex"}) {
    json chat = Chat(2);
    chat[field] = std::string(60'000, '(');
    EXPECT_EQ(StatusOf(kChatPath, chat), 400) << field;
  }
  ExpectWell();
}

// CVE-2025-32381 (XGrammar) and CVE-2025-29770 (vLLM): compiled grammars were kept without a bound.
TEST_F(AdvisoriesServerTest, Cve202532381CompiledGrammarsAreKeptWithinABound) {
  server_internal::OutputGrammars grammars;
  std::vector<std::weak_ptr<const OutputGrammar>> made;
  for (int i = 0; i < 200; ++i) {
    OutputConstraint constraint;
    constraint.kind = OutputConstraint::Kind::kRegex;
    constraint.text = "answer " + std::to_string(i);
    const auto grammar = grammars.Get(constraint, *tokenizer_);
    ASSERT_EQ(grammar.index(), 0u);
    made.push_back(std::get<0>(grammar));
  }
  const auto alive =
      std::count_if(made.begin(), made.end(), [](const auto& weak) { return !weak.expired(); });
  EXPECT_EQ(static_cast<size_t>(alive), server_internal::OutputGrammars::kKept);
}

// CVE-2025-46570 (vLLM) and its kind: what another user asked is told by what is in the cache. No
// salt leads from one key to what another has cached, nor one salt to another's.
TEST_F(AdvisoriesServerTest, Cve202546570NoSaltReachesAnotherKeysPrefixes) {
  ServerConfig config;
  config.keys = ApiKeys::Plain({"alice", "bob"});
  StartServer(std::move(config));
  json ids = json::array();
  for (int i = 0; i < 100; ++i) ids.push_back(1 + i % 7);
  const auto cached = [&](const char* key, const json& salt) {
    json request = {{"prompt", ids}, {"max_tokens", 1}};
    if (!salt.is_null()) request["cache_salt"] = salt;
    const ClientResponse response =
        Post(kTextPath, request, std::string("Authorization: Bearer ") + key + "\r\n");
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body)["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
  };
  const std::string id = MakeApiKey("alice").id;
  EXPECT_EQ(cached("alice", nullptr), 0);
  EXPECT_EQ(cached("alice", "team"), 0);
  EXPECT_EQ(cached("alice", "team"), 99);
  using namespace std::string_literals;
  const std::set<std::string> salts = {"team",         "alice",     id,
                                       id + "\0team"s, "\0team"s,   "\0"s + id + "\0team"s,
                                       "alice\0team"s, "team\0"s,   "\0"s,
                                       "../" + id,     "*",         std::string(256, 'x'),
                                       id + "\0"s,     "\x01" + id, std::string(1, '\x02')};
  for (const std::string& salt : salts) EXPECT_EQ(cached("bob", salt), 0) << salt;
  for (const std::string& salt : salts) {
    if (salt == "team") continue;  // her own
    EXPECT_EQ(cached("alice", salt), 0) << salt;
  }
  EXPECT_EQ(cached("bob", "team"), 99);  // his own
  for (const size_t length : {size_t{257}, size_t{1} << 20}) {
    const ClientResponse response = Post(
        kTextPath, {{"prompt", "x"}, {"cache_salt", std::string(length, 's')}, {"max_tokens", 1}},
        "Authorization: Bearer bob\r\n");
    EXPECT_EQ(response.status, 400) << length;
    EXPECT_EQ(json::parse(response.body)["error"]["param"], "cache_salt");
  }
}

// CVE-2024-37032 (Ollama) and CVE-2024-39722: names that become paths. A store lies beside the
// server's folder: no name reaches it.
TEST_F(AdvisoriesServerTest, Cve202437032NamesDoNotLeaveTheirFolder) {
  namespace fs = std::filesystem;
  const fs::path above = fs::temp_directory_path() / ("millrace-paths-" + std::to_string(getpid()));
  fs::create_directories(above / "stores");
  const auto make = [&](const fs::path& path, const char* text) {
    auto store = PassageStore::Create(path.string());
    ASSERT_TRUE(store.ok()) << store.error().message;
    ASSERT_TRUE(store->Add(std::vector<StoredDocument>{{"a", "", text}}).ok());
  };
  make(above / "secret.db", "a hidden treasure");
  make(above / "stores" / "mine.db", "an open field");
  ServerConfig config;
  config.store_folder = (above / "stores").string();
  adapters_ = {"alice"};
  StartServer(std::move(config));
  const auto raw = [&](const std::string& method, const std::string& target,
                       const std::string& body = "") {
    TestClient client(port());
    client.Send(method + " " + target + " HTTP/1.1\r\nHost: t\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    const ClientResponse response = client.ReadResponse();
    EXPECT_THAT(response.body, Not(HasSubstr("treasure"))) << target;
    EXPECT_THAT(response.body, Not(HasSubstr("root:"))) << target;
    EXPECT_THAT(response.body, Not(HasSubstr(above.string()))) << target;
    return response.status;
  };
  const std::string ask = R"({"query":"x"})";
  EXPECT_EQ(raw("POST", "/v1/vector_stores/mine/search", ask), 200);  // it can be reached
  for (const std::string name :
       {"..%2Fsecret", "%2e%2e%2fsecret", "../secret", "mine/../../secret", "..%5csecret",
        "..%2fstores%2fmine", "%2e/mine", "....//secret", "%252e%252e%252fsecret"}) {
    EXPECT_EQ(raw("POST", "/v1/vector_stores/" + name + "/search", ask), 404) << name;
    EXPECT_EQ(raw("GET", "/v1/vector_stores/" + name), 404) << name;
    EXPECT_EQ(raw("DELETE", "/v1/vector_stores/" + name), 404) << name;
  }
  for (const std::string name : {"../secret", "../x", "/tmp/x", "x/y", "x\\y", "x\n"}) {
    EXPECT_EQ(StatusOf("/v1/vector_stores", {{"name", name}}), 400) << name;
    json chat = Chat(1);
    chat["millrace"] = {{"store", name}};
    EXPECT_GE(StatusOf(kChatPath, chat), 400) << name;
  }
  EXPECT_TRUE(fs::exists(above / "secret.db"));
  for (const std::string model :
       {"../alice", "alice/../../etc/passwd", "/etc/passwd", "org/fake:../alice",
        "org/fake/../alice", "file:///etc/passwd", "sha256:../../../../etc/passwd", "alice.gguf"}) {
    json chat = Chat(1);
    chat["model"] = model;
    EXPECT_EQ(StatusOf(kChatPath, chat), 404) << model;
    EXPECT_EQ(raw("GET", "/v1/models/" + model), 404) << model;
  }
  fs::remove_all(above);
}

// The same of the page's own files, which are in memory: there is no folder to leave.
TEST_F(AdvisoriesServerTest, Cve202437032ThePageServesItsOwnFilesAlone) {
  ServerConfig config;
  config.debug_endpoints = true;
  config.dashboard.emplace();
  config.dashboard->files = {{"/", "text/html; charset=utf-8", "<p>page</p>", "packed"},
                             {"/app.js", "text/javascript; charset=utf-8", "run()", "zipped"}};
  StartServer(std::move(config));
  EXPECT_EQ(TestClient(port()).Get("/app.js").status, 200);
  for (const std::string target :
       {"/../../../../etc/passwd", "/..%2f..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd", "/etc/passwd", "/app.js/../../etc/passwd", "/app.js/", "/./app.js",
        "/assets/..%5c..%5cetc%5cpasswd", "/proc/self/environ", "/%2fetc/passwd", "/app.js%00.html",
        "/index.html/%2e%2e/%2e%2e/etc/passwd", "/report.html", "/..;/etc/passwd"}) {
    TestClient client(port());
    client.Send("GET " + target + " HTTP/1.1\r\nHost: t\r\n\r\n");
    const ClientResponse response = client.ReadResponse();
    EXPECT_TRUE(response.status == 404 || response.status == 400) << target << response.status;
    EXPECT_THAT(response.body, Not(HasSubstr("root:"))) << target;
  }
}

// CVE-2025-6242 (vLLM): an address in a message was fetched by the server. Here none is.
TEST_F(AdvisoriesServerTest, Cve20256242NothingIsFetchedOnAClientsBehalf) {
  StartServer();
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener, 5), 0);
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/x.png";
  const json parts[] = {{{"type", "image_url"}, {"image_url", {{"url", url}}}},
                        {{"type", "input_audio"}, {"input_audio", {{"data", url}}}},
                        {{"type", "video_url"}, {"video_url", {{"url", url}}}},
                        {{"type", "input_image"}, {"image_url", url}},
                        {{"type", "input_file"}, {"file_url", url}},
                        {{"type", "image"}, {"source", {{"type", "url"}, {"url", url}}}}};
  for (const json& part : parts) {
    json chat = Chat(1);
    chat["messages"] = json::array({Message("user", json::array({part}))});
    EXPECT_EQ(StatusOf(kChatPath, chat), 400) << part;
    json messages = LeastBodyOf("/v1/messages");
    messages["messages"] = chat["messages"];
    EXPECT_EQ(StatusOf("/v1/messages", messages), 400) << part;
    json responses = LeastBodyOf("/v1/responses");
    responses["input"] = chat["messages"];
    EXPECT_EQ(StatusOf("/v1/responses", responses), 400) << part;
  }
  json chat = Chat(1);
  chat["messages"][0]["content"] = "Read " + url + " please.";
  chat["documents"] = json::array({url});
  StatusOf(kChatPath, chat);
  pollfd waiting{.fd = listener, .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&waiting, 1, 200), 0) << "somebody asked for " << url;
  ::close(listener);
}

}  // namespace
}  // namespace millrace
