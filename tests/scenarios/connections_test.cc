// Many connections at once, and hostile ones: a thousand streams of which no token is lost, doubled
// or crossed, two thousand clients that never end their request, others that break off at random.
// The others are answered as before, and every block of KV memory comes back.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "base/sanitizer_for_test.h"
#include "http/test_client.h"
#include "tests/scenarios/scenario.h"
#include "tests/scenarios/socket.h"

namespace millrace {
namespace {

using nlohmann::json;
using SteadyClock = std::chrono::steady_clock;
using std::chrono::duration;

constexpr int kTexts = 25;  // different prompts; each has one right answer
constexpr int kTokens = 8;

std::string RequestOf(json body, bool stream) {
  body["stream"] = stream;
  const std::string text = body.dump();
  return "POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Length: " +
         std::to_string(text.size()) + "\r\n\r\n" + text;
}

json Question(int number) { return EvidenceChat(9000 + static_cast<uint64_t>(number), 1, kTokens); }

int64_t ResidentBytes(pid_t process) {
  std::ifstream statm("/proc/" + std::to_string(process) + "/statm");
  int64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

// Moves all sockets until `done`, or patience is over.
template <class Done>
bool Serve(std::vector<Socket>& sockets, Done done, std::chrono::seconds patience) {
  const auto end = SteadyClock::now() + patience;
  while (!done()) {
    if (SteadyClock::now() > end) return false;
    std::vector<pollfd> wanted;
    std::vector<Socket*> who;
    for (Socket& socket : sockets) {
      if (!socket.open() || socket.Ended()) continue;
      wanted.push_back(socket.Wanted());
      who.push_back(&socket);
    }
    ::poll(wanted.data(), wanted.size(), 10);
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i].revents != 0) who[i]->Move();
    }
  }
  return true;
}

// What a stream's bytes say: the chunks' framing away, then the events.
struct Streamed {
  std::string text;
  int tokens = 0;  // logprobs, one each
  int finishes = 0;
  int done_marks = 0;
  std::string id;  // of all its chunks; "mixed" where they have several
};
Streamed ReadStream(const std::string& bytes) {
  Streamed streamed;
  std::string body;
  size_t at = bytes.find("\r\n\r\n");
  if (at == std::string::npos) return streamed;
  for (at += 4; at < bytes.size();) {
    const size_t line = bytes.find("\r\n", at);
    if (line == std::string::npos) break;
    const size_t size = std::strtoul(bytes.substr(at, line - at).c_str(), nullptr, 16);
    body += bytes.substr(line + 2, size);
    at = line + 2 + size + 2;
  }
  for (at = 0; (at = body.find("data: ", at)) != std::string::npos;) {
    at += 6;
    const std::string data = body.substr(at, body.find("\n\n", at) - at);
    if (data == "[DONE]") {
      ++streamed.done_marks;
      continue;
    }
    const json chunk = json::parse(data, nullptr, false);
    if (chunk.is_discarded() || chunk.contains("error")) continue;
    const std::string id = chunk["id"];
    streamed.id = streamed.id.empty() || streamed.id == id ? id : "mixed";
    for (const json& choice : chunk["choices"]) {
      if (choice["delta"].contains("content"))
        streamed.text += choice["delta"]["content"].get<std::string>();
      if (choice["logprobs"].is_object())
        streamed.tokens += static_cast<int>(choice["logprobs"]["content"].size());
      if (!choice["finish_reason"].is_null()) ++streamed.finishes;
    }
  }
  return streamed;
}

// Asks for /health/live again and again until told to stop; milliseconds each.
class Prober {
 public:
  Prober(uint16_t port, std::string request)
      : thread_([this, port, request = std::move(request)] {
          TestClient client(port);
          while (!stop_) {
            const auto begin = SteadyClock::now();
            client.Send(request);
            const ClientResponse response = client.ReadResponse();
            if (response.status != 200) ++failures_;
            times_.push_back(duration<double, std::milli>(SteadyClock::now() - begin).count());
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
          }
        }) {}
  std::vector<double> Stop() {
    stop_ = true;
    thread_.join();
    return times_;
  }
  int failures() const { return failures_; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int> failures_{0};
  std::vector<double> times_;
  std::thread thread_;
};

const std::string kLive = "GET /health/live HTTP/1.1\r\nHost: test\r\n\r\n";

void ExpectNothingHeld(uint16_t port) {
  EXPECT_TRUE(Eventually([port] {
    int gauges = 0;
    double held = 0;
    for (const auto& [name, value] : ReadMetrics(port)) {
      for (const char* gauge : {"num_requests_running", "num_requests_waiting", "kv_blocks_held"}) {
        if (name.rfind(std::string("millrace:") + gauge, 0) != 0) continue;
        ++gauges;
        held += value;
      }
    }
    return gauges == 3 && held == 0;
  })) << "something is still held";
}

TEST(Connections, AThousandStreamsLoseNothing) {
  constexpr int kStreams = 1000;
  // Little KV memory, so that what grows is the connections'.
  ServerProcess server(MILLRACE_BINARY,
                       {"--max-queue", "4000", "--kv-memory", "16MiB", "--log-format", "json"});
  ASSERT_NE(server.port(), 0);
  std::vector<std::string> right;
  for (int i = 0; i < kTexts; ++i) {
    const json body = Question(i);
    const ClientResponse response = TestClient(server.port(), 0, std::chrono::seconds(120))
                                        .Post("/v1/chat/completions", body.dump());
    ASSERT_EQ(response.status, 200) << response.body;
    right.push_back(json::parse(response.body)["choices"][0]["message"]["content"]);
  }
  const int64_t before = ResidentBytes(server.id());
  int64_t most = before;
  Prober prober(server.port(), kLive);
  std::vector<Socket> sockets;
  for (int i = 0; i < kStreams; ++i) {
    json body = Question(i % kTexts);
    body["logprobs"] = true;
    sockets.emplace_back(server.port(), RequestOf(body, true));
  }
  const auto begin = SteadyClock::now();
  const auto all_ended = [&] {
    most = std::max(most, ResidentBytes(server.id()));
    return std::all_of(sockets.begin(), sockets.end(), [](auto& s) { return s.Ended(); });
  };
  ASSERT_TRUE(Serve(sockets, all_ended, std::chrono::seconds(400)));
  const double took = duration<double>(SteadyClock::now() - begin).count();
  const std::vector<double> live = prober.Stop();
  std::set<std::string> ids;
  for (int i = 0; i < kStreams; ++i) {
    const std::string& received = sockets[static_cast<size_t>(i)].received();
    ASSERT_EQ(received.substr(0, 12), "HTTP/1.1 200") << i << ": " << received.substr(0, 600);
    const Streamed streamed = ReadStream(received);
    EXPECT_EQ(streamed.text, right[static_cast<size_t>(i % kTexts)]) << i;
    EXPECT_EQ(streamed.tokens, kTokens) << i;
    EXPECT_EQ(streamed.finishes, 1) << i;
    EXPECT_EQ(streamed.done_marks, 1) << i;
    EXPECT_NE(streamed.id, "mixed") << i;
    ids.insert(streamed.id);
  }
  EXPECT_EQ(ids.size(), static_cast<size_t>(kStreams));
  EXPECT_EQ(prober.failures(), 0);
  ExpectNothingHeld(server.port());
  std::printf(
      "%d streams in %.1f s, %.1f KB each with their KV; /health/live p50 %.1f ms, p99 %.1f ms "
      "of %zu\n",
      kStreams, took, static_cast<double>(most - before) / 1024 / kStreams, Quantile(live, 0.5),
      Quantile(live, 0.99), live.size());
  if (!kUnderSanitizer) {  // the address sanitizer keeps what was freed
    EXPECT_LT(most - before, int64_t{kStreams} * 64 * 1024);
  }
  if (IsFull()) {
    EXPECT_LT(Quantile(live, 0.99), 50.0);
  }
}

// Connections whose request never ends cost little memory, do not hold up the others, and are told
// 408 when their time is over. At full length in turns with and without them, because the machine's
// own pace drifts by more than they cost.
TEST(Connections, SlowlorisIsBorne) {
  constexpr int kSlow = 2000;
  ServerProcess server(MILLRACE_BINARY, {"--log-format", "json"});
  ASSERT_NE(server.port(), 0);
  const std::string healthy = RequestOf(EvidenceChat(5, 1, 4), false);
  const auto window = std::chrono::milliseconds(IsFull() ? 8000 : 2000);
  const auto measure_into = [&](std::vector<double>& times) {
    Prober prober(server.port(), healthy);
    std::this_thread::sleep_for(window);
    const std::vector<double> more = prober.Stop();
    EXPECT_EQ(prober.failures(), 0);
    times.insert(times.end(), more.begin(), more.end());
  };
  std::vector<double> before, during;
  double each = 0;
  for (int turn = 0; turn < (IsFull() ? 4 : 1); ++turn) {
    measure_into(before);
    const int64_t alone = ResidentBytes(server.id());
    std::vector<Socket> sockets;
    for (int i = 0; i < kSlow; ++i)
      sockets.emplace_back(server.port(), "POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nX-A: ");
    std::thread trickle([&] {
      // A byte each every two seconds, not all at the same moment. (The tool of that name sends a
      // line every 15 s.)
      const auto begin = SteadyClock::now();
      size_t sent = 0;
      Serve(
          sockets,
          [&] {
            const double rounds = duration<double>(SteadyClock::now() - begin).count() / 2;
            for (; static_cast<double>(sent) < rounds * kSlow; ++sent)
              sockets[sent % kSlow].Send("a");
            return std::all_of(sockets.begin(), sockets.end(), [](auto& s) { return s.Ended(); });
          },
          std::chrono::seconds(120));
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    each = std::max(each, static_cast<double>(ResidentBytes(server.id()) - alone) / kSlow);
    measure_into(during);
    trickle.join();  // the header's time, 10 s, ends them all
    for (const Socket& socket : sockets) {
      EXPECT_EQ(socket.received().substr(0, 12), "HTTP/1.1 408");
    }
  }
  std::printf(
      "%d connections that never end: %.1f KB each; healthy p99 %.1f ms without (of %zu), %.1f "
      "with (of %zu)\n",
      kSlow, each / 1024, Quantile(before, 0.99), before.size(), Quantile(during, 0.99),
      during.size());
  EXPECT_LT(each, 64 * 1024);
  if (IsFull()) {
    EXPECT_LT(Quantile(during, 0.99), 1.2 * Quantile(before, 0.99));
  }
}

// Clients that leave anywhere: in the header, in the body, before an answer, in a stream; closed or
// half-closed.
TEST(Connections, RandomDisconnectsGiveEverythingBack) {
  const int clients = IsFull() ? 10'000 : 1000;
  ServerProcess server(MILLRACE_BINARY, {"--log-format", "json", "--max-queue", "1000"});
  ASSERT_NE(server.port(), 0);
  const std::string stream = RequestOf(EvidenceChat(7, 1, 64), true);
  std::atomic<int> next{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(static_cast<uint64_t>(t));
      while (next++ < clients) {
        TestClient client(server.port());
        switch (random() % 4) {
          case 0:  // somewhere in the request
            client.Send(stream.substr(0, random() % stream.size()));
            break;
          case 1:  // as soon as it is sent
            client.Send(stream);
            break;
          case 2: {  // somewhere in the stream
            client.Send(stream);
            client.ReadHead();
            std::this_thread::sleep_for(std::chrono::milliseconds(random() % 30));
            break;
          }
          default:
            client.Send(stream);
            client.HalfClose();
            if (random() % 2 == 0) client.ReadHead();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ExpectNothingHeld(server.port());
  EXPECT_EQ(TestClient(server.port()).Get("/health/ready").status, 200);
  const ClientResponse after = TestClient(server.port(), 0, std::chrono::seconds(120))
                                   .Post("/v1/chat/completions", EvidenceChat(7, 1, 8).dump());
  EXPECT_EQ(after.status, 200);
}

}  // namespace
}  // namespace millrace
