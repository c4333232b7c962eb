// Ten times more requests than the server can answer: it goes on answering as many as it can,
// refuses the others at once and says when to come back, needs no more memory, and loses none:
// each request ends in exactly one line of the log, in the state that its client saw.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <random>
#include <thread>

#include "http/test_client.h"
#include "tests/scenarios/scenario.h"

namespace millrace {
namespace {

using nlohmann::json;
using SteadyClock = std::chrono::steady_clock;
using std::chrono::duration;

constexpr int kRunning = 8;
constexpr int kQueue = 16;
constexpr int kOverloadTokens = 64;
constexpr double kOverload = 10;

double SecondsBetween(SteadyClock::time_point a, SteadyClock::time_point b) {
  return duration<double>(b - a).count();
}

struct Seen {
  std::string id;  // empty: no answer
  int status = 0;
  bool has_retry_after = false;
  double ended = 0;  // seconds since the phase began
  double took = 0;
  double late = 0;  // how long after its time the client could send it
};

// Chats that no two requests share, ready to be sent: the clients run on the server's own machine,
// and what they do while it answers is taken from it.
std::vector<std::string> MakeRequests(size_t count, uint64_t first) {
  std::vector<std::string> requests;
  for (size_t i = 0; i < count; ++i) {
    const std::string body = EvidenceChat(first + i, 2, kOverloadTokens).dump();
    requests.push_back("POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Length: " +
                       std::to_string(body.size()) + "\r\n\r\n" + body);
  }
  return requests;
}

// Clients that each send one request after the other over one connection.
class Load {
 public:
  Load(uint16_t port, int clients, std::vector<std::string> requests)
      : port_(port), clients_(clients), requests_(std::move(requests)) {}

  // `next` gives each request its time in seconds, or nothing at the end.
  std::vector<Seen> Run(const std::function<std::optional<double>()>& next) {
    std::vector<std::vector<Seen>> seen(static_cast<size_t>(clients_));
    std::vector<std::thread> threads;
    const auto begin = SteadyClock::now();
    for (size_t c = 0; c < seen.size(); ++c) {
      threads.emplace_back([&, c] { RunClient(begin, next, seen[c]); });
    }
    for (std::thread& thread : threads) thread.join();
    std::vector<Seen> all;
    for (auto& part : seen) all.insert(all.end(), part.begin(), part.end());
    return all;
  }

 private:
  void RunClient(SteadyClock::time_point begin, const std::function<std::optional<double>()>& next,
                 std::vector<Seen>& seen) {
    std::optional<TestClient> client;
    while (const std::optional<double> time = next()) {
      const std::string& request = requests_[number_++ % requests_.size()];
      std::this_thread::sleep_until(
          begin + std::chrono::duration_cast<SteadyClock::duration>(duration<double>(*time)));
      if (!client) client.emplace(port_);
      Seen one;
      const auto sent = SteadyClock::now();
      client->Send(request);
      const ClientResponse response = client->ReadResponse();
      const auto ended = SteadyClock::now();
      one.status = response.complete ? response.status : 0;
      if (response.headers.contains("x-request-id")) one.id = response.headers.at("x-request-id");
      one.has_retry_after = response.headers.contains("retry-after");
      one.ended = SecondsBetween(begin, ended);
      one.took = SecondsBetween(sent, ended);
      one.late = SecondsBetween(begin, sent) - *time;
      seen.push_back(one);
      if (!response.complete) client.reset();
    }
  }

  const uint16_t port_;
  const int clients_;
  const std::vector<std::string> requests_;
  std::atomic<size_t> number_{0};
};

// As many as the server can answer: clients enough to fill its batch, each sends when it has its
// answer.
std::vector<Seen> ClosedLoop(uint16_t port, double seconds) {
  Load load(port, kRunning + kQueue / 2, MakeRequests(IsFull() ? 4000 : 500, 1));
  const auto begin = SteadyClock::now();
  return load.Run([&]() -> std::optional<double> {
    const double now = SecondsBetween(begin, SteadyClock::now());
    return now < seconds ? std::optional(now) : std::nullopt;
  });
}

// So many a second, at random times, whatever becomes of them.
std::vector<Seen> OpenLoop(uint16_t port, double rate, double seconds) {
  std::mt19937_64 random(1);
  std::exponential_distribution<double> gap(rate);
  std::vector<double> times;
  for (double at = gap(random); at < seconds; at += gap(random)) times.push_back(at);
  std::atomic<size_t> next{0};
  return Load(port, 160, MakeRequests(times.size(), 1'000'000)).Run([&]() -> std::optional<double> {
    const size_t index = next++;
    return index < times.size() ? std::optional(times[index]) : std::nullopt;
  });
}

// Answers a second within [from, to).
double Goodput(const std::vector<Seen>& seen, double from, double to) {
  const auto good = std::count_if(seen.begin(), seen.end(), [&](const Seen& one) {
    return one.status == 200 && one.ended >= from && one.ended < to;
  });
  return static_cast<double>(good) / (to - from);
}

// Resident memory of a process, in MiB, each so often until the object goes.
class MemoryWatch {
 public:
  explicit MemoryWatch(pid_t process) : process_(process), thread_([this] { Loop(); }) {}
  ~MemoryWatch() { Stop(); }
  std::vector<double> Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return samples_;
  }

 private:
  void Loop() {
    while (!stop_) {
      std::ifstream status("/proc/" + std::to_string(process_) + "/statm");
      int64_t total = 0, resident = 0;
      if (status >> total >> resident) {
        samples_.push_back(static_cast<double>(resident * ::sysconf(_SC_PAGESIZE)) / (1 << 20));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
  const pid_t process_;
  std::atomic<bool> stop_{false};
  std::vector<double> samples_;
  std::thread thread_;
};

// Each answer's state in the log is what its client saw, and there is no other line.
void ExpectEachLoggedOnce(const ServerProcess& server, const std::vector<Seen>& seen) {
  const auto lines = RequestLines(server);
  size_t chats = 0;
  std::map<std::string, int> ends;
  for (const auto& [id, line] : lines) {
    if (line["route"] != "POST /v1/chat/completions") continue;
    ++chats;
    ++ends[line["end"]];
  }
  EXPECT_EQ(chats, seen.size());
  for (const Seen& one : seen) {
    const auto line = lines.find(one.id);
    ASSERT_NE(line, lines.end()) << "request '" << one.id << "', status " << one.status;
    EXPECT_EQ(line->second["status"], one.status);
    EXPECT_EQ(line->second["end"], one.status == 200 ? "completed" : "refused");
  }
  std::printf("log: %d completed, %d refused, %d others\n", ends["completed"], ends["refused"],
              static_cast<int>(chats) - ends["completed"] - ends["refused"]);
}

TEST(OverloadTest, TenTimesWhatItCanAnswer) {
  const double peak_seconds = IsFull() ? 12 : 2;
  const double overload_seconds = IsFull() ? 60 : 3;
  ServerProcess server(MILLRACE_BINARY,
                       {"--context", "1024", "--max-running", std::to_string(kRunning),
                        "--max-queue", std::to_string(kQueue), "--log-format", "json"});
  ASSERT_NE(server.port(), 0) << testing::PrintToString(server.Log());
  std::vector<Seen> seen = ClosedLoop(server.port(), peak_seconds);
  const double peak = Goodput(seen, peak_seconds / 6, peak_seconds);
  if (IsFull()) {
    ASSERT_GT(peak, 0);
  }

  MemoryWatch watch(server.id());
  // In the short run under a sanitizer the first answer may come after the window.
  const double rate = kOverload * std::max(peak, 5.0);
  const std::vector<Seen> crowd = OpenLoop(server.port(), rate, overload_seconds);
  const std::vector<double> memory = watch.Stop();
  const double goodput = Goodput(crowd, overload_seconds / 12, overload_seconds);
  seen.insert(seen.end(), crowd.begin(), crowd.end());

  std::vector<double> refused, answered, late;
  for (const Seen& one : crowd) {
    EXPECT_TRUE(one.status == 200 || one.status == 503) << one.status;
    EXPECT_EQ(one.has_retry_after, one.status == 503);
    (one.status == 200 ? answered : refused).push_back(1000 * one.took);
    late.push_back(1000 * one.late);
  }
  EXPECT_FALSE(refused.empty());
  const double begun = memory.at(memory.size() / 6), most = Quantile(memory, 1);
  std::printf(
      "peak %.1f answers/s; offered %.1f/s for %.0f s: %.1f answers/s (%.1f %% of the peak)\n"
      "answers: %zu, median %.0f ms, p99 %.0f ms\n"
      "refusals: %zu, median %.1f ms, p99 %.1f ms, slowest %.1f ms\n"
      "clients late: median %.1f ms, p99 %.1f ms\n"
      "resident memory: %.1f MiB at a sixth of the time, %.1f MiB at most\n",
      peak, rate, overload_seconds, goodput, 100 * goodput / peak, answered.size(),
      Quantile(answered, 0.5), Quantile(answered, 0.99), refused.size(), Quantile(refused, 0.5),
      Quantile(refused, 0.99), Quantile(refused, 1), Quantile(late, 0.5), Quantile(late, 0.99),
      begun, most);
  if (IsFull()) {
    EXPECT_GE(goodput, 0.9 * peak);
    EXPECT_LE(Quantile(refused, 1), 100);
    EXPECT_LE(most, begun * 1.02 + 4);
  }

  const auto metrics = ReadMetrics(server.port());
  EXPECT_EQ(metrics.at("millrace:num_requests_running"), 0);
  EXPECT_EQ(metrics.at("millrace:num_requests_waiting"), 0);
  EXPECT_EQ(metrics.at("millrace:kv_blocks_held"), 0);
  server.Terminate();
  EXPECT_EQ(server.WaitForExit(), 0);
  ExpectEachLoggedOnce(server, seen);
}

}  // namespace
}  // namespace millrace
