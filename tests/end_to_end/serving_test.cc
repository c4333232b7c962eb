// The real binary on the embedded demo model, under a crowd: 64 streamed chats at once, a fifth of
// them cut by the client. Every other stream gives exactly the tokens (text, and logprobs where
// asked for) that the same request gives alone; the same with a KV pool so small that sequences are
// preempted. Afterwards nothing runs, no block is held, and SIGTERM ends the process with 0 after
// what is under way.
#include <gtest/gtest.h>

#include <algorithm>
#include <latch>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "base/sanitizer_for_test.h"
#include "http/test_client.h"
#include "tests/end_to_end/chat_stream.h"
#include "tests/end_to_end/evidence.h"
#include "tests/end_to_end/server_process.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr size_t kClients = kUnderSanitizer ? 32 : 64;
constexpr size_t kCutClients = kClients / 5 + 1;
constexpr int kLongestAnswer = 400;  // tokens: outgrows by far what admission looks ahead
// Of 32 positions: 2 (K, V) x 4 layers x 8 heads x 32 values x 2 bytes x 32, and its twin of the
// draft model, of 3 layers and 4 heads.
constexpr int kSmallPoolBlocks = 40;
constexpr int kBlockBytes = 131072 + 49152;
constexpr char kChatLine[] = "route=\"POST /v1/chat/completions\"";

struct Case {
  json body;
  std::string right_answer;  // where the model ends the answer itself, greedily
};

// Four kinds by turns: greedy or at temperature 0.8 with a seed, to the answer's end or on beyond
// it, with logprobs or without.
Case MakeCase(size_t index) {
  std::mt19937_64 random(index);
  const bool goes_on = index % 4 == 1 || index % 4 == 2;
  const int passages = goes_on ? 1 : 1 + static_cast<int>(random() % 6);
  const EvidenceQuestion question = MakeEvidenceQuestion(9000 + index, passages);
  Case made;
  json& body = made.body;
  body["messages"] = json::array({{{"role", "system"}, {"content", question.system}},
                                  {{"role", "user"}, {"content", question.question}}});
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  body["max_tokens"] = kLongestAnswer / 2 + static_cast<int>(random() % (kLongestAnswer / 2));
  const bool sampled = index % 4 >= 2;
  body["temperature"] = sampled ? 0.8 : 0.0;
  if (sampled) body["seed"] = random() % 1000000;
  if (goes_on) body["ignore_eos"] = true;
  if (index % 4 == 0) made.right_answer = question.answer;
  if (index % 8 < 3) {
    body["logprobs"] = true;
    body["top_logprobs"] = index % 3;
  }
  if (index % 8 == 7) body["frequency_penalty"] = 0.5;
  return made;
}

std::vector<std::optional<Cut>> MakeCuts(const std::vector<ChatStream>& alone, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<size_t> clients(kClients);
  for (size_t i = 0; i < kClients; ++i) clients[i] = i;
  for (size_t i = 0; i < kCutClients; ++i)
    std::swap(clients[i], clients[i + random() % (kClients - i)]);
  std::vector<std::optional<Cut>> cuts(kClients);
  for (size_t i = 0; i < kCutClients; ++i) {
    const auto events = static_cast<uint64_t>(alone[clients[i]].text_events);
    cuts[clients[i]] = Cut{static_cast<int>(random() % events), random() % 2 == 0};
  }
  return cuts;
}

void ExpectSame(const ChatStream& alone, const ChatStream& crowd) {
  EXPECT_EQ(crowd.status, 200);
  EXPECT_TRUE(crowd.done);
  EXPECT_EQ(crowd.error, "");
  EXPECT_EQ(crowd.text, alone.text);
  EXPECT_EQ(crowd.logprobs, alone.logprobs);
  EXPECT_EQ(crowd.finish_reason, alone.finish_reason);
  if (!crowd.usage.is_object()) return;  // not done
  EXPECT_EQ(crowd.usage["prompt_tokens"], alone.usage["prompt_tokens"]);
  EXPECT_EQ(crowd.usage["completion_tokens"], alone.usage["completion_tokens"]);
}

// A cut stream saw the beginning of what the request gives alone.
void ExpectBeginning(const ChatStream& alone, const ChatStream& cut) {
  EXPECT_EQ(cut.error, "");
  EXPECT_EQ(cut.text, alone.text.substr(0, cut.text.size()));
  ASSERT_LE(cut.logprobs.size(), alone.logprobs.size());
  EXPECT_TRUE(std::equal(cut.logprobs.begin(), cut.logprobs.end(), alone.logprobs.begin()));
}

// All clients at once; the answers in the order of the cases.
std::vector<ChatStream> StreamAll(uint16_t port, const std::vector<Case>& cases,
                                  const std::vector<std::optional<Cut>>& cuts,
                                  const std::function<void()>& on_head = {}) {
  std::vector<ChatStream> streams(cases.size());
  std::latch start(static_cast<std::ptrdiff_t>(cases.size()));
  std::vector<std::thread> clients;
  for (size_t i = 0; i < cases.size(); ++i) {
    clients.emplace_back([&, i] {
      start.arrive_and_wait();
      streams[i] = StreamChat(port, cases[i].body, cuts[i], on_head);
    });
  }
  for (std::thread& client : clients) client.join();
  return streams;
}

class ServingTest : public testing::Test {
 protected:
  // One thread: the crowd's servers have the default number, so that is compared as well.
  static void SetUpTestSuite() {
    ServerProcess server(MILLRACE_BINARY, {"--context", "1024", "--threads", "1"});
    ASSERT_NE(server.port(), 0) << testing::PrintToString(server.Log());
    for (size_t i = 0; i < kClients; ++i) {
      cases_.push_back(MakeCase(i));
      alone_.push_back(StreamChat(server.port(), cases_.back().body));
      ASSERT_TRUE(alone_.back().done) << "request " << i << ": " << alone_.back().error << "\n"
                                      << testing::PrintToString(server.Log());
    }
  }

  static void Start(std::optional<ServerProcess>& server, const std::vector<std::string>& flags) {
    server.emplace(MILLRACE_BINARY, flags);
    ASSERT_NE(server->port(), 0) << testing::PrintToString(server->Log());
  }

  // The crowd on a server; returns how many preemptions the whole streams report.
  static int64_t RunCrowd(ServerProcess& server, uint64_t seed) {
    const auto cuts = MakeCuts(alone_, seed);
    const std::vector<ChatStream> crowd = StreamAll(server.port(), cases_, cuts);
    int64_t preemptions = 0;
    for (size_t i = 0; i < kClients; ++i) {
      SCOPED_TRACE(testing::Message() << "request " << i);
      if (cuts[i]) {
        ExpectBeginning(alone_[i], crowd[i]);
        continue;
      }
      ExpectSame(alone_[i], crowd[i]);
      if (crowd[i].done) preemptions += crowd[i].usage["millrace"]["preemptions"].get<int64_t>();
    }
    return preemptions;
  }

  // Every request of the crowd ended in one logged state: the cut ones were stopped, or were ready
  // before the server saw that the client had gone.
  static void ExpectAllLogged(const ServerProcess& server) {
    EXPECT_TRUE(
        Eventually([&] { return server.Count({kChatLine}) >= static_cast<int>(kClients); }));
    const int completed = server.Count({kChatLine, "end=completed"});
    const int cancelled = server.Count({kChatLine, "end=cancelled"});
    std::printf("%d completed, %d cancelled\n", completed, cancelled);
    EXPECT_EQ(server.Count({kChatLine}), static_cast<int>(kClients));
    EXPECT_EQ(completed + cancelled, static_cast<int>(kClients));
    EXPECT_GE(completed, static_cast<int>(kClients - kCutClients));
    EXPECT_GT(cancelled, 0);
  }

  // The server itself says so, in time: the last cancellations may be a step behind their log
  // lines.
  static void ExpectNothingRuns(uint16_t port) {
    std::string metrics;
    EXPECT_TRUE(Eventually([&] {
      metrics = TestClient(port).Get("/metrics").body;
      for (const char* gauge : {"num_requests_running", "num_requests_waiting", "kv_blocks_held"}) {
        if (metrics.find("\nmillrace:" + std::string(gauge) + " 0\n") == std::string::npos) {
          return false;
        }
      }
      return true;
    })) << metrics;
  }

  // A request that needs every block of the pool: where anything still held one, it would wait for
  // ever. The engine has seen every earlier cancellation when it is admitted.
  static void ExpectWholePoolUsable(uint16_t port) {
    const json models = json::parse(TestClient(port).Get("/v1/models").body);
    const int context = models["data"][0]["max_model_len"];
    ASSERT_EQ(context, kSmallPoolBlocks * 32);
    const json body = {{"prompt", std::vector<int>(static_cast<size_t>(context - 8), 65)},
                       {"max_tokens", 8},
                       {"ignore_eos", true}};
    TestClient client(port, 0, std::chrono::seconds(240));
    const ClientResponse response = client.Post("/v1/completions", body.dump());
    ASSERT_EQ(response.status, 200) << response.body;
    const json usage = json::parse(response.body)["usage"];
    EXPECT_EQ(usage["completion_tokens"], 8);
    EXPECT_EQ(usage["millrace"]["preemptions"], 0);
  }

  static void ExpectCleanEnd(ServerProcess& server) {
    server.Terminate();
    EXPECT_EQ(server.WaitForExit(), 0) << testing::PrintToString(server.Log());
    EXPECT_EQ(server.Count({"signal 15: 0 running, 0 waiting;"}), 1) << server.FirstLine("signal");
    EXPECT_EQ(server.Count({"stopped: ", " 0 KV blocks held"}), 1) << server.FirstLine("stopped");
  }

  static std::vector<Case> cases_;
  static std::vector<ChatStream> alone_;
};

std::vector<Case> ServingTest::cases_;
std::vector<ChatStream> ServingTest::alone_;

// What the other tests compare with is itself right: whole answers, and mostly the true ones.
TEST_F(ServingTest, AloneTheAnswersAreWhole) {
  int asked = 0;
  int right = 0;
  for (size_t i = 0; i < kClients; ++i) {
    SCOPED_TRACE(testing::Message() << "request " << i);
    ASSERT_EQ(alone_[i].status, 200) << alone_[i].error;
    EXPECT_FALSE(alone_[i].text.empty());
    const json& body = cases_[i].body;
    const int64_t tokens = alone_[i].usage["completion_tokens"];
    if (body.contains("ignore_eos")) {
      EXPECT_EQ(tokens, body["max_tokens"].get<int64_t>());
    }
    EXPECT_EQ(alone_[i].logprobs.size(),
              body.contains("logprobs") ? static_cast<size_t>(tokens) : 0u);
    if (cases_[i].right_answer.empty()) continue;
    ++asked;
    if (alone_[i].text == cases_[i].right_answer) ++right;
  }
  std::printf("%d of %d greedy answers are right to the letter\n", right, asked);
  EXPECT_GE(right * 2, asked);  // these names are stranger to the model than those of corpus.py
}

TEST_F(ServingTest, CrowdGivesTheTokensOfEachAlone) {
  std::optional<ServerProcess> server;
  ASSERT_NO_FATAL_FAILURE(Start(server, {"--context", "1024", "--max-running", "64"}));
  RunCrowd(*server, 1);
  ExpectAllLogged(*server);
  ExpectNothingRuns(server->port());
  EXPECT_EQ(TestClient(server->port()).Get("/health/ready").status, 200);
  ExpectCleanEnd(*server);
}

TEST_F(ServingTest, CrowdInASmallPoolIsPreemptedAndGivesTheSame) {
  std::optional<ServerProcess> server;
  const std::string memory = std::to_string(kSmallPoolBlocks * kBlockBytes);
  ASSERT_NO_FATAL_FAILURE(Start(server, {"--kv-memory", memory, "--max-running", "64"}));
  const int64_t preemptions = RunCrowd(*server, 2);
  std::printf("%d preemptions\n", static_cast<int>(preemptions));
  EXPECT_GT(preemptions, 0);
  ExpectAllLogged(*server);
  ExpectNothingRuns(server->port());
  ExpectWholePoolUsable(server->port());
  ExpectCleanEnd(*server);
}

TEST_F(ServingTest, SigtermLetsRunningStreamsEnd) {
  std::optional<ServerProcess> server;
  ASSERT_NO_FATAL_FAILURE(
      Start(server, {"--context", "1024", "--max-running", "4", "--drain-timeout", "240"}));
  const std::vector<Case> cases(cases_.begin(), cases_.begin() + 12);  // most of them wait
  std::vector<ChatStream> streams;
  std::latch accepted(static_cast<std::ptrdiff_t>(cases.size()));
  std::thread clients([&] {
    streams = StreamAll(server->port(), cases, std::vector<std::optional<Cut>>(cases.size()),
                        [&] { accepted.count_down(); });
  });
  accepted.wait();
  server->Terminate();
  clients.join();
  EXPECT_EQ(server->WaitForExit(), 0) << testing::PrintToString(server->Log());
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "request " << i);
    ExpectSame(alone_[i], streams[i]);
  }
  std::printf("%s\n", server->FirstLine("signal").c_str());
  EXPECT_EQ(server->Count({"stopped: ", " 0 KV blocks held"}), 1) << server->FirstLine("stopped");
}

}  // namespace
}  // namespace millrace
