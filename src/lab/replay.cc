#include "lab/replay.h"

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <ctime>
#include <map>
#include <utility>

#include "base/clock.h"
#include "lab/replay_stream.h"

namespace millrace {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using lab_internal::Arrived;

constexpr auto kReplayAwait = asio::as_tuple(asio::use_awaitable);
constexpr uint64_t kLongestAnswer = uint64_t{256} << 20;

double ThreadCpuSeconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// What came for one request, before it is taken apart.
struct Exchanged {
  int status = 0;
  std::string body;
  std::vector<Arrived> arrived;
};

class Replayer {
 public:
  Replayer(const std::vector<ReplayRequest>& requests, const ReplayOptions& options,
           asio::ip::address address, const ReplayProgress& progress)
      : requests_(requests),
        options_(options),
        endpoint_(address, options.port),
        progress_(progress),
        exchanged_(requests.size()) {
    run_.answers.resize(requests.size());
    GroupSessions();
  }

  ReplayRun Run() {
    start_ = clock_.Now();
    const size_t starters =
        options_.loop == ReplayLoop::kOpen ? sessions_.size() : options_.clients;
    for (size_t i = 0; i < starters; ++i) {
      asio::co_spawn(
          context_,
          [this, i]() -> asio::awaitable<void> {
            if (options_.loop == ReplayLoop::kOpen) {
              co_await PlaySession(i);
            } else {
              while (next_session_ < sessions_.size()) co_await PlaySession(next_session_++);
            }
          },
          asio::detached);
    }
    const double cpu = ThreadCpuSeconds();
    context_.run();
    run_.client_cpu_seconds = ThreadCpuSeconds() - cpu;
    run_.seconds = Now();
    for (size_t i = 0; i < requests_.size(); ++i) Finish(i);
    return std::move(run_);
  }

 private:
  void GroupSessions() {
    std::map<std::string, size_t> known;
    for (size_t i = 0; i < requests_.size(); ++i) {
      const std::string& name = requests_[i].session;
      size_t session = sessions_.size();
      if (!name.empty()) session = known.try_emplace(name, session).first->second;
      if (session == sessions_.size()) sessions_.emplace_back();
      sessions_[session].push_back(i);
    }
  }

  double Now() const { return Seconds(clock_.Now() - start_); }

  asio::awaitable<void> PlaySession(size_t session) {
    double before = 0;  // the answer before
    for (const size_t i : sessions_[session]) {
      const ReplayRequest& request = requests_[i];
      ReplayAnswer& answer = run_.answers[i];
      const bool first = i == sessions_[session].front();
      answer.scheduled = first ? Now() : before + request.delay_seconds;
      if (options_.loop == ReplayLoop::kOpen)
        answer.scheduled = std::max(first ? 0 : answer.scheduled, request.arrival_seconds);
      if (answer.scheduled > Now()) {
        asio::steady_timer timer(context_);
        timer.expires_at(start_ + std::chrono::duration_cast<Duration>(
                                      std::chrono::duration<double>(answer.scheduled)));
        co_await timer.async_wait(kReplayAwait);
      }
      co_await Send(i);
      before = answer.end = Now();
      if (progress_) progress_(++done_);
    }
  }

  // Sends the request and reads all of the answer, or notes why not.
  asio::awaitable<void> Send(size_t i) {
    ReplayAnswer& answer = run_.answers[i];
    beast::tcp_stream stream(context_);
    stream.expires_after(std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::duration<double>(options_.time_limit)));
    answer.sent = Now();
    const auto [no_connection] = co_await stream.async_connect(endpoint_, kReplayAwait);
    if (no_connection) {
      answer.failure = FailureOf(no_connection);
      co_return;
    }
    error_code ignored;
    stream.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
    const std::string text = Head(requests_[i]);
    const std::array<asio::const_buffer, 2> parts = {asio::buffer(text),
                                                     asio::buffer(requests_[i].body)};
    const auto [not_sent, bytes_sent] = co_await asio::async_write(stream, parts, kReplayAwait);
    if (not_sent) {
      answer.failure = FailureOf(not_sent);
      co_return;
    }
    co_await Read(stream, i);
  }

  asio::awaitable<void> Read(beast::tcp_stream& stream, size_t i) {
    Exchanged& exchanged = exchanged_[i];
    beast::flat_buffer buffer;
    beast::http::response_parser<beast::http::string_body> parser;
    parser.body_limit(kLongestAnswer);
    parser.eager(true);
    while (!parser.is_done()) {
      const auto [error, bytes] =
          co_await beast::http::async_read_some(stream, buffer, parser, kReplayAwait);
      if (error) {
        run_.answers[i].failure = FailureOf(error);
        co_return;
      }
      const size_t size = parser.get().body().size();
      if (exchanged.arrived.empty() || exchanged.arrived.back().bytes < size)
        exchanged.arrived.push_back({size, Now()});
    }
    exchanged.status = parser.get().result_int();
    exchanged.body = std::move(parser.get().body());
  }

  std::string Head(const ReplayRequest& request) const {
    return "POST " + request.path + " HTTP/1.1\r\nHost: " + options_.address +
           "\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: " +
           std::to_string(request.body.size()) + "\r\n\r\n";
  }

  static std::string FailureOf(error_code error) {
    return error == beast::error::timeout ? "time limit" : "connection: " + error.message();
  }

  void Finish(size_t i) {
    ReplayAnswer& answer = run_.answers[i];
    run_.stream_seconds += answer.end - answer.sent;
    if (!answer.ok()) return;
    if (exchanged_[i].status != 200) {
      answer.failure = "HTTP " + std::to_string(exchanged_[i].status);
      return;
    }
    lab_internal::TakeApart(exchanged_[i].body, exchanged_[i].arrived, answer);
  }

  const std::vector<ReplayRequest>& requests_;
  const ReplayOptions& options_;
  const asio::ip::tcp::endpoint endpoint_;
  const ReplayProgress& progress_;
  asio::io_context context_{1};
  Clock clock_;
  TimePoint start_;
  std::vector<std::vector<size_t>> sessions_;
  size_t next_session_ = 0;
  size_t done_ = 0;
  std::vector<Exchanged> exchanged_;
  ReplayRun run_;
};

}  // namespace

Result<ReplayRun> ReplayRequests(const std::vector<ReplayRequest>& requests,
                                 const ReplayOptions& options, const ReplayProgress& progress) {
  if (requests.empty()) return Error{"there are no requests to replay"};
  if (options.clients == 0) return Error{"a replay needs at least one client"};
  error_code wrong;
  const auto address = asio::ip::make_address(options.address, wrong);
  if (wrong) return Error{"'" + options.address + "' is no IP address"};
  return Replayer(requests, options, address, progress).Run();
}

}  // namespace millrace
