// libFuzzer target: any bytes as what a client sends over a connection, in pieces. The connection
// ends, every request that reaches the handler is within the limits, and what comes back is HTTP.
// The first byte chooses the pieces, the second the limits.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/check.h"
#include "http/connection.h"

namespace {

using namespace millrace;
using http_internal::Connection;
using http_internal::Shared;
namespace asio = boost::asio;

HttpConfig SmallLimits(uint8_t choice) {
  HttpConfig config;
  config.max_header_bytes = (choice & 1) != 0 ? 256 : 2048;
  config.max_target_bytes = (choice & 2) != 0 ? 32 : 512;
  config.max_body_bytes = (choice & 4) != 0 ? 16 : 4096;
  config.max_total_body_bytes = (choice & 8) != 0 ? 64 : 1 << 20;
  if ((choice & 16) != 0) config.allowed_origins = {"https://app.example", "http://a"};
  if ((choice & 32) != 0) config.stream_buffer_limit = 64;
  return config;
}

// Answers by the path's beginning in every way there is, with what the client sent in it.
void Handle(const HttpConfig& limits, HttpRequest request, const Responder& responder) {
  CHECK(!request.method.empty() && request.path.starts_with("/"));
  CHECK(request.path.find('\0') == std::string::npos);
  CHECK(request.target.size() <= limits.max_target_bytes);
  CHECK(request.body.size() <= limits.max_body_bytes);
  const std::string what = request.path.substr(1, 1);
  if (what == "x") throw std::runtime_error("the handler fails");
  if (what == "a") return;  // abandoned: a 500
  if (what == "s" || what == "b") {
    responder.StartEventStream({{"X-Echo", request.path}});
    for (const HttpHeader& header : request.headers) responder.SendEvent(header.value, header.name);
    responder.SendEvent(request.body);
    responder.SendComment(request.path);
    if (what == "s") responder.Close({{"X-Trailer", request.query}});
    return;
  }
  HttpResponse response;
  response.headers = {{"X-Echo", request.path}, {"X-Query", request.query}};
  for (const HttpHeader& header : request.headers) response.headers.push_back(header);
  std::erase_if(response.headers, [](const HttpHeader& header) {
    return EqualsIgnoringCase(header.name, "content-length") ||
           EqualsIgnoringCase(header.name, "transfer-encoding");
  });
  response.body = std::move(request.body);
  responder.Send(std::move(response));
}

// One answer at the beginning of `bytes`, or the beginning of one that was cut; taken off. False
// where it is known to be the last.
bool TakeAnswer(std::string_view& bytes, bool maybe_head) {
  CHECK(bytes.size() < 9 || bytes.starts_with("HTTP/1.1 "));
  const size_t end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return false;
  std::string_view head = bytes.substr(0, end + 2);
  bytes.remove_prefix(end + 4);
  CHECK(head.size() > 13 && std::isdigit(head[9]) && std::isdigit(head[11]) && head[12] == ' ');
  const int status = std::stoi(std::string(head.substr(9, 3)));
  size_t length = 0;
  int lengths = 0, chunked = 0;
  for (head.remove_prefix(head.find("\r\n") + 2); !head.empty();) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    head.remove_prefix(line.size() + 2);
    const size_t colon = line.find(':');
    CHECK(colon != std::string_view::npos && colon > 0);
    CHECK(line.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
    const std::string_view name = line.substr(0, colon);
    if (EqualsIgnoringCase(name, "content-length")) {
      ++lengths;
      length = std::stoul(std::string(line.substr(colon + 2)));
    }
    if (EqualsIgnoringCase(name, "transfer-encoding")) ++chunked;
  }
  CHECK(lengths <= 1 && chunked <= 1 && lengths + chunked <= 1);
  if (status < 200 || status == 204 || status == 304) return true;
  if (maybe_head || lengths + chunked == 0) return false;  // who knows where the next begins
  if (lengths == 1) {
    bytes.remove_prefix(std::min(length, bytes.size()));
    return true;
  }
  while (true) {
    const size_t line = bytes.find("\r\n");
    if (line == std::string_view::npos) return false;
    const size_t size = std::stoul(std::string(bytes.substr(0, line)), nullptr, 16);
    bytes.remove_prefix(line + 2);
    if (size == 0) break;
    if (bytes.size() < size + 2) return false;
    CHECK(bytes.substr(size, 2) == "\r\n");
    bytes.remove_prefix(size + 2);
  }
  while (!bytes.empty() && !bytes.starts_with("\r\n")) {  // trailers
    const size_t line = bytes.find("\r\n");
    if (line == std::string_view::npos) return false;
    CHECK(bytes.substr(0, line).find(':') != std::string_view::npos);
    bytes.remove_prefix(line + 2);
  }
  bytes.remove_prefix(std::min<size_t>(2, bytes.size()));
  return true;
}

class Client {
 public:
  Client(uint8_t limits, std::string_view sent)
      : config_(SmallLimits(limits)),
        shared_(std::make_shared<Shared>(config_,
                                         [this](HttpRequest request, const Responder& responder) {
                                           Handle(config_, std::move(request), responder);
                                         })),
        unsent_(sent) {
    int pair[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    fd_ = pair[0];
    asio::ip::tcp::socket socket(shared_->context);
    socket.assign(asio::ip::tcp::v4(), pair[1]);
    const auto connection = std::make_shared<Connection>(std::move(socket), shared_,
                                                         [this](Connection*) { ended_ = true; });
    connection->Start();
  }
  ~Client() { ::close(fd_); }

  std::string Run(size_t piece) {
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!ended_) {
      SendSome(piece);
      if (shared_->context.poll() == 0 && unsent_.empty()) {
        shared_->context.run_one_for(std::chrono::milliseconds(2));
      }
      Receive();
      CHECK(std::chrono::steady_clock::now() < patience);
    }
    shared_->context.run_for(std::chrono::milliseconds(0));
    Receive();
    CHECK(shared_->body_bytes == 0);
    return std::move(received_);
  }

 private:
  void SendSome(size_t piece) {
    if (done_) return;
    const ssize_t n =
        ::send(fd_, unsent_.data(), std::min(piece, unsent_.size()), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) unsent_.remove_prefix(static_cast<size_t>(n));
    if (n < 0 && errno == EPIPE) unsent_ = {};
    if (!unsent_.empty()) return;
    done_ = true;
    ::shutdown(fd_, SHUT_WR);
  }
  void Receive() {
    char bytes[4096];
    for (ssize_t n; (n = ::recv(fd_, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0;) {
      received_.append(bytes, static_cast<size_t>(n));
    }
  }

  const HttpConfig config_;
  std::shared_ptr<Shared> shared_;
  std::string_view unsent_;
  std::string received_;
  int fd_ = -1;
  bool done_ = false, ended_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view sent(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string received = Client(data[1], sent).Run(data[0] == 0 ? size : data[0]);
  const bool maybe_head = sent.find("HEAD") != std::string_view::npos;
  std::string_view left = received;
  while (!left.empty() && TakeAnswer(left, maybe_head)) {
  }
  return 0;
}
