// A shared beginning of 2,000 tokens and questions of 30: with it in the cache the first token
// comes in a fraction of the time, and of eight requests that arrive together one computes it.
// Whole: on the llama-1b shape in Q4_K_M, which `millrace bench` makes (or MILLRACE_LLAMA_1B
// names).
#include <gtest/gtest.h>

#include <cstdlib>
#include <latch>
#include <random>
#include <thread>

#include "http/test_client.h"
#include "tests/scenarios/scenario.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int kPrefix = 2000;
constexpr int kQuestion = 30;
constexpr int kSharedPrefixTokens = 4;
constexpr int kTogether = 8;
constexpr int kRounds = 5;

std::vector<int> RandomTokens(uint64_t seed, int count) {
  std::mt19937_64 random(seed);
  std::vector<int> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(300 + static_cast<int>(random() % 200));
  return tokens;
}

// The question `question` behind the beginning `prefix`; other numbers are other tokens.
json Body(uint64_t prefix, uint64_t question) {
  std::vector<int> prompt = RandomTokens(1000 + prefix, kPrefix);
  prompt[0] = 300 + static_cast<int>(prefix % 200);  // no two begin alike
  std::vector<int> end = RandomTokens(900'000 + question, kQuestion);
  end[0] = 300 + static_cast<int>(question % 200);
  prompt.insert(prompt.end(), end.begin(), end.end());
  return {{"prompt", prompt}, {"max_tokens", kSharedPrefixTokens},
          {"temperature", 0}, {"ignore_eos", true},
          {"stream", true},   {"stream_options", {{"include_usage", true}}}};
}

struct Answer {
  double first_token_ms = 0;
  json usage;
};

Answer Ask(uint16_t port, const json& body) {
  TestClient client(port, 0, std::chrono::seconds(240));
  const std::string text = body.dump();
  Answer answer;
  const auto begin = std::chrono::steady_clock::now();
  client.Send("POST /v1/completions HTTP/1.1\r\nHost: test\r\nContent-Length: " +
              std::to_string(text.size()) + "\r\n\r\n" + text);
  EXPECT_EQ(client.ReadHead().status, 200);
  std::string events;
  for (bool ended = false; !ended;) {
    const std::string piece = client.ReadChunk(ended);
    if (piece.empty() && !ended) break;
    if (events.empty()) {
      answer.first_token_ms =
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
              .count();
    }
    events += piece;
  }
  const size_t usage = events.rfind("data: {");
  EXPECT_NE(usage, std::string::npos) << events;
  if (usage != std::string::npos) {
    answer.usage = json::parse(events.substr(usage + 6, events.find("\n\n", usage) - usage - 6))
                       .value("usage", json());
  }
  return answer;
}

int CachedOf(const Answer& answer) {
  return answer.usage["prompt_tokens_details"]["cached_tokens"].get<int>();
}

class SharedPrefixTest : public testing::Test {
 protected:
  // The model file of the whole scenario; made where the caller names none.
  std::string ModelFile() {
    if (const char* given = std::getenv("MILLRACE_LLAMA_1B")) return given;
    const std::string file = (folder_.path() / "llama-1b.gguf").string();
    const std::string command = std::string(MILLRACE_BINARY) +
                                " bench --shape llama-1b --type Q4_K_M --prompt 8 --generate 1 "
                                "--batch 1 --repeat 1 --save " +
                                file + " >/dev/null 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0);
    return file;
  }
  std::vector<std::string> Flags() {
    std::vector<std::string> flags = {"--context", "2560", "--max-running", "16"};
    if (IsFull()) {
      flags.insert(flags.begin(), ModelFile());
      flags.insert(flags.end(), {"--kv-memory", "2GiB"});
    }
    return flags;
  }
  ScratchFolder folder_;
};

TEST_F(SharedPrefixTest, IsComputedOnce) {
  ServerProcess server(MILLRACE_BINARY, Flags());
  ASSERT_NE(server.port(), 0) << testing::PrintToString(server.Log());
  Ask(server.port(), Body(999, 999));  // pages and caches of the machine are warm
  std::vector<double> cold, warm, saved;
  for (uint64_t round = 0; round < kRounds; ++round) {
    const Answer first = Ask(server.port(), Body(round, 2 * round));
    const Answer second = Ask(server.port(), Body(round, 2 * round + 1));
    EXPECT_EQ(CachedOf(first), 0);
    EXPECT_GE(CachedOf(second), kPrefix);
    cold.push_back(first.first_token_ms);
    warm.push_back(second.first_token_ms);
    saved.push_back(second.usage["millrace"]["cached_saved_ms"]);
  }

  std::vector<Answer> together(kTogether);
  std::latch start(kTogether);
  std::vector<std::thread> clients;
  for (uint64_t i = 0; i < kTogether; ++i) {
    clients.emplace_back([&, i] {
      start.arrive_and_wait();
      together[i] = Ask(server.port(), Body(100, 100 + i));
    });
  }
  for (std::thread& client : clients) client.join();
  int computed = 0, without = 0;
  for (const Answer& answer : together) {
    computed += answer.usage["millrace"]["computed_tokens"].get<int>();
    if (CachedOf(answer) < kPrefix) ++without;
  }
  const double ratio = Quantile(cold, 0.5) / Quantile(warm, 0.5);
  std::printf(
      "first token, medians of %d: cold %.1f ms, warm %.2f ms: 1/%.1f; the ledger says %.1f ms "
      "saved\n%d together: %d tokens computed, %d had to compute the beginning\n",
      kRounds, Quantile(cold, 0.5), Quantile(warm, 0.5), ratio, Quantile(saved, 0.5), kTogether,
      computed, without);
  EXPECT_EQ(without, 1);
  EXPECT_EQ(computed, kPrefix + kTogether * (kQuestion + kSharedPrefixTokens - 1));
  if (IsFull()) {
    EXPECT_GE(ratio, 20);
  }
  server.Terminate();
  EXPECT_EQ(server.WaitForExit(), 0);
}

}  // namespace
}  // namespace millrace
