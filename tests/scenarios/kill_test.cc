// kill -9 of the real server at random moments, while it serves, starts or shuts down, with the
// prefix cache's disk tier on: the next one serves, and never a wrong token.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "http/test_client.h"
#include "tests/scenarios/scenario.h"

namespace millrace {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr int kPrompts = 24;
constexpr int kMaxTokens = 24;
constexpr int kClients = 3;
// 64 blocks, see serving_test: a few prompts fill it, so blocks go to the disk all the time.
constexpr char kMemory[] = "8388608";

class KillTest : public testing::Test {
 protected:
  void SetUp() override {
    for (uint64_t i = 0; i < kPrompts; ++i) {
      bodies_.push_back(EvidenceChat(500 + i, 6, kMaxTokens).dump());
    }
    ServerProcess plain(MILLRACE_BINARY, {"--context", "1024", "--prefix-cache", "off"});
    ASSERT_NE(plain.port(), 0) << testing::PrintToString(plain.Log());
    for (const std::string& body : bodies_) {
      right_.push_back(Ask(plain.port(), body));
      ASSERT_FALSE(right_.back().empty());
    }
  }

  std::vector<std::string> Flags() const {
    return {"--context",
            "1024",
            "--max-running",
            "4",
            "--kv-memory",
            kMemory,
            "--prefix-cache-dir",
            folder_.path().string(),
            "--prefix-cache-disk-use",
            "always"};
  }

  // The answer's text; empty where there was no whole answer.
  static std::string Ask(uint16_t port, const std::string& body) {
    TestClient client(port);
    if (!client.connected()) return {};
    const ClientResponse response = client.Post("/v1/chat/completions", body);
    if (!response.complete || response.status != 200) return {};
    return json::parse(response.body)["choices"][0]["message"]["content"];
  }

  void AskAndCompare(uint16_t port, size_t prompt) {
    const std::string text = Ask(port, bodies_[prompt]);
    if (text.empty()) return;  // killed meanwhile
    ++compared_;
    if (text == right_[prompt]) return;
    ++wrong_;
    ADD_FAILURE() << "prompt " << prompt << ": '" << text << "' instead of '" << right_[prompt]
                  << "'";
  }

  // Clients ask at random until the server is gone.
  void ServeUntilKilled(ServerProcess& server, std::mt19937_64& random) {
    std::atomic<bool> over{false};
    std::vector<std::thread> clients;
    for (int c = 0; c < kClients; ++c) {
      clients.emplace_back([&, seed = random()] {
        std::mt19937_64 mine(seed);
        while (!over) AskAndCompare(server.port(), mine() % kPrompts);
      });
    }
    std::this_thread::sleep_for(milliseconds(random() % 700));
    if (random() % 3 == 0) {  // while it drains and writes what the cache holds
      server.Terminate();
      std::this_thread::sleep_for(milliseconds(random() % 40));
    }
    over = true;
    server.Kill();
    for (std::thread& client : clients) client.join();
  }

  // One server's life.
  void LiveAndDie(uint64_t seed) {
    std::mt19937_64 random(seed);
    if (random() % 6 == 0) {  // while it starts
      ServerProcess server(MILLRACE_BINARY, Flags(), ServerProcess::Until::kStarted);
      std::this_thread::sleep_for(milliseconds(random() % 80));
      server.Kill();
      return;
    }
    ServerProcess server(MILLRACE_BINARY, Flags());
    ASSERT_NE(server.port(), 0) << testing::PrintToString(server.Log());
    ServeUntilKilled(server, random);
  }

  ScratchFolder folder_;
  std::vector<std::string> bodies_, right_;
  std::atomic<int> compared_{0}, wrong_{0};
};

TEST_F(KillTest, TheNextOneServesCorrectly) {
  ASSERT_FALSE(folder_.path().empty());
  const int kills = IsFull() ? 50 : 5;
  for (int i = 0; i < kills; ++i) {
    ASSERT_NO_FATAL_FAILURE(LiveAndDie(static_cast<uint64_t>(i)));
  }
  ServerProcess last(MILLRACE_BINARY, Flags());
  ASSERT_NE(last.port(), 0) << testing::PrintToString(last.Log());
  const int before = compared_;
  for (size_t round = 0; round < 2; ++round) {
    for (size_t prompt = 0; prompt < kPrompts; ++prompt) AskAndCompare(last.port(), prompt);
  }
  EXPECT_EQ(compared_ - before, 2 * kPrompts);  // this one nobody kills
  EXPECT_EQ(wrong_, 0);
  auto metrics = ReadMetrics(last.port());
  std::printf(
      "%d kills, %d answers compared, %d wrong; the last server loaded %.0f blocks from "
      "disk, found %.0f damaged\n",
      kills, compared_.load(), wrong_.load(), metrics["millrace:prefix_cache_disk_loads"],
      metrics["millrace:prefix_cache_disk_damaged"]);
  EXPECT_GT(metrics["millrace:prefix_cache_disk_loads"], 0);  // else nothing was tested
  last.Terminate();
  EXPECT_EQ(last.WaitForExit(), 0);
}

}  // namespace
}  // namespace millrace
