// Ten times more requests than the server can answer: it goes on answering as many as it can,
// refuses the others at once and says when to come back, needs no more memory, and loses none:
// each request ends in exactly one line of the log, in the state that its client saw.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <random>
#include <thread>

#include "tests/scenarios/scenario.h"
#include "tests/scenarios/socket.h"

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

// Clients that each send one request after the other over one connection. One thread serves them
// all, and looks at them once a millisecond: so they cost the server's machine little.
class Load {
 public:
  Load(uint16_t port, int clients, std::vector<std::string> requests)
      : port_(port), requests_(std::move(requests)), clients_(static_cast<size_t>(clients)) {}

  // `next` gives each request its time in seconds, or nothing at the end.
  std::vector<Seen> Run(const std::function<std::optional<double>()>& next) {
    begin_ = SteadyClock::now();
    size_t waiting = 0;
    std::optional<double> time = next();
    for (auto tick = begin_; time || waiting > 0; std::this_thread::sleep_until(tick)) {
      tick = std::max(tick + std::chrono::milliseconds(1), SteadyClock::now());
      for (Client& client : clients_) {
        if (!time || *time > Now()) break;
        if (client.waits) continue;
        Send(client, *time);
        time = next();
      }
      waiting = MoveAll();
    }
    return std::move(seen_);
  }

 private:
  struct Client {
    std::optional<Socket> socket;
    bool waits = false;
    double sent = 0, late = 0;
  };

  double Now() const { return SecondsBetween(begin_, SteadyClock::now()); }

  void Send(Client& client, double time) {
    if (!client.socket || !client.socket->open()) client.socket.emplace(port_);
    client.waits = true;
    client.sent = Now();
    client.late = client.sent - time;
    client.socket->Send(requests_[number_++ % requests_.size()]);
  }

  // How many clients still wait afterwards.
  size_t MoveAll() {
    std::vector<pollfd> wanted;
    std::vector<Client*> who;
    for (Client& client : clients_) {
      if (!client.waits) continue;
      wanted.push_back(client.socket->Wanted());
      who.push_back(&client);
    }
    ::poll(wanted.data(), wanted.size(), 0);
    size_t waiting = 0;
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i].revents != 0) TakeAnswer(*who[i]);
      waiting += who[i]->waits ? 1 : 0;
    }
    return waiting;
  }

  void TakeAnswer(Client& client) {
    client.socket->Move();
    const std::optional<std::string> answer = client.socket->TakeAnswer();
    if (!answer && client.socket->open()) return;
    client.waits = false;
    Seen one;
    one.ended = Now();
    one.took = one.ended - client.sent;
    one.late = client.late;
    if (answer) {
      one.status = std::atoi(answer->c_str() + std::string_view("HTTP/1.1 ").size());
      one.id = Field(*answer, "x-request-id");
      one.has_retry_after = !Field(*answer, "Retry-After").empty();
    }
    seen_.push_back(one);
  }

  // Of the answer's head, which the server writes in just this form.
  static std::string Field(const std::string& answer, std::string_view name) {
    const std::string head = answer.substr(0, answer.find("\r\n\r\n") + 2);
    const size_t at = head.find(fmt::format("\r\n{}: ", name));
    if (at == std::string::npos) return {};
    const size_t value = at + 2 + name.size() + 2;
    return head.substr(value, head.find("\r\n", value) - value);
  }

  const uint16_t port_;
  const std::vector<std::string> requests_;
  SteadyClock::time_point begin_;
  size_t number_ = 0;
  std::vector<Client> clients_;
  std::vector<Seen> seen_;
};

// As many as the server can answer: clients enough to fill its batch, each sends when it has its
// answer.
std::vector<Seen> ClosedLoop(uint16_t port, double seconds, uint64_t first) {
  Load load(port, kRunning + kQueue / 2, MakeRequests(IsFull() ? 6000 : 500, first));
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
  size_t next = 0;
  return Load(port, 160, MakeRequests(times.size(), 1'000'000)).Run([&]() -> std::optional<double> {
    return next < times.size() ? std::optional(times[next++]) : std::nullopt;
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
  std::vector<Seen> seen;
  const auto measure_peak = [&](uint64_t first_request) {
    const std::vector<Seen> answers = ClosedLoop(server.port(), peak_seconds, first_request);
    seen.insert(seen.end(), answers.begin(), answers.end());
    return Goodput(answers, peak_seconds / 6, peak_seconds);
  };
  const double peak_before = measure_peak(1);
  if (IsFull()) {
    ASSERT_GT(peak_before, 0);
  }

  MemoryWatch watch(server.id());
  // In the short run under a sanitizer the first answer may come after the window.
  const double rate = kOverload * std::max(peak_before, 5.0);
  const std::vector<Seen> crowd = OpenLoop(server.port(), rate, overload_seconds);
  const std::vector<double> memory = watch.Stop();
  const double goodput = Goodput(crowd, overload_seconds / 12, overload_seconds);
  seen.insert(seen.end(), crowd.begin(), crowd.end());
  // Again, because a machine's speed changes within such a time: the mean is that of the middle.
  const double peak_after = measure_peak(500'000);
  const double peak = (peak_before + peak_after) / 2;

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
      "peak %.1f answers/s (%.1f before, %.1f after); offered %.1f/s for %.0f s: %.1f answers/s "
      "(%.1f %% of the peak)\n"
      "answers: %zu, median %.0f ms, p99 %.0f ms\n"
      "refusals: %zu, median %.1f ms, p99 %.1f ms, slowest %.1f ms\n"
      "clients late: median %.1f ms, p99 %.1f ms\n"
      "resident memory: %.1f MiB at a sixth of the time, %.1f MiB at most\n",
      peak, peak_before, peak_after, rate, overload_seconds, goodput, 100 * goodput / peak,
      answered.size(), Quantile(answered, 0.5), Quantile(answered, 0.99), refused.size(),
      Quantile(refused, 0.5), Quantile(refused, 0.99), Quantile(refused, 1), Quantile(late, 0.5),
      Quantile(late, 0.99), begun, most);
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
