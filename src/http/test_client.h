// A blocking HTTP client over a raw socket, for tests: it can send any bytes, stall, half-close and
// vanish. Every wait ends after kClientPatience (or what the test asks for), far beyond what a
// loaded machine needs, so a test that hangs fails instead.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace millrace {

inline constexpr std::chrono::seconds kClientPatience{30};

struct ClientResponse {
  int status = 0;                              // 0: the connection ended before a whole response
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  bool complete = false;  // the body's end was seen
};

// How the bytes of a client travel, where a test puts something between.
class ClientTransport {
 public:
  virtual ~ClientTransport() = default;
  // As send(2) and recv(2).
  virtual ssize_t Send(const char* bytes, size_t size) = 0;
  virtual ssize_t Receive(char* bytes, size_t size) = 0;
  virtual void HalfClose() = 0;
};
// Makes the transport of each TestClient over its connected socket; empty: bytes as they are.
inline std::function<std::unique_ptr<ClientTransport>(int fd)> make_client_transport;

class TestClient {
 public:
  explicit TestClient(uint16_t port, int receive_buffer = 0,
                      std::chrono::seconds longest_wait = kClientPatience) {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    if (receive_buffer > 0) {
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    timeval patience{.tv_sec = longest_wait.count(), .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    if (connected_ && make_client_transport) transport_ = make_client_transport(fd_);
  }
  ~TestClient() { Close(); }
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  bool connected() const { return connected_; }

  // False when the server has closed.
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = transport_ ? transport_->Send(bytes.data(), bytes.size())
                                   : ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  void HalfClose() {
    if (transport_) transport_->HalfClose();
    ::shutdown(fd_, SHUT_WR);
  }
  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  // Closes with a reset instead of an orderly end.
  void Reset() {
    const linger hard{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    Close();
  }

  // Reads more into the buffer; false at the end, after an error or when patience is over.
  bool ReadMore() {
    char bytes[65536];
    const ssize_t n = Receive(bytes, sizeof(bytes));
    if (n <= 0) {
      end_ = n == 0 ? "the server closed" : std::strerror(errno);
      return false;
    }
    buffer_.append(bytes, static_cast<size_t>(n));
    return true;
  }
  // Why the last read gave nothing: "the server closed", or the system's word for the error.
  const std::string& end() const { return end_; }
  // Everything up to and including `mark`; empty when the connection ended first.
  std::string ReadUntil(std::string_view mark) {
    size_t at = 0;
    while ((at = buffer_.find(mark)) == std::string::npos) {
      if (!ReadMore()) return {};
    }
    return Take(at + mark.size());
  }
  std::string ReadToEnd() {
    while (ReadMore()) {
    }
    return std::exchange(buffer_, {});
  }
  // Whether the server closes the connection (within patience), whatever it still sends.
  bool EndsWithClose() {
    char bytes[65536];
    while (true) {
      const ssize_t n = Receive(bytes, sizeof(bytes));
      if (n == 0 || (n < 0 && errno == ECONNRESET)) return true;
      if (n < 0) return false;
    }
  }

  // The head of a response; the body is left unread.
  ClientResponse ReadHead() {
    ClientResponse response;
    const std::string head = ReadUntil("\r\n\r\n");
    if (head.size() < 12) return response;
    response.status = std::atoi(head.c_str() + 9);
    size_t line = head.find("\r\n") + 2;
    while (line + 2 < head.size()) {
      const size_t end = head.find("\r\n", line);
      const size_t colon = head.find(": ", line);
      if (colon < end) {
        std::string name = head.substr(line, colon - line);
        for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        response.headers[name] = head.substr(colon + 2, end - colon - 2);
      }
      line = end + 2;
    }
    return response;
  }
  // One piece of a chunked body; empty at its end (`ended` set) or when the connection broke.
  std::string ReadChunk(bool& ended) {
    const std::string size_line = ReadUntil("\r\n");
    ended = false;
    if (size_line.empty()) return {};
    const size_t size = std::strtoul(size_line.c_str(), nullptr, 16);
    while (buffer_.size() < size + 2) {
      if (!ReadMore()) return {};
    }
    std::string chunk = Take(size);
    Take(2);
    ended = size == 0;
    return chunk;
  }
  ClientResponse ReadResponse(bool head_only = false) {
    ClientResponse response = ReadHead();
    if (response.status == 0 || head_only || response.status == 204 || response.status == 100) {
      response.complete = response.status != 0;
      return response;
    }
    if (response.headers.count("transfer-encoding") > 0) {
      for (std::string chunk; !response.complete;) {
        chunk = ReadChunk(response.complete);
        if (chunk.empty() && !response.complete) break;
        response.body += chunk;
      }
    } else if (response.headers.count("content-length") > 0) {
      const size_t size = std::strtoul(response.headers["content-length"].c_str(), nullptr, 10);
      while (buffer_.size() < size) {
        if (!ReadMore()) return response;
      }
      response.body = Take(size);
      response.complete = true;
    } else {
      response.body = ReadToEnd();
      response.complete = true;
    }
    return response;
  }
  ClientResponse Get(const std::string& target, const std::string& headers = "") {
    Send("GET " + target + " HTTP/1.1\r\nHost: test\r\n" + headers + "\r\n");
    return ReadResponse();
  }
  ClientResponse Post(const std::string& target, const std::string& body,
                      const std::string& headers = "") {
    Send("POST " + target + " HTTP/1.1\r\nHost: test\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n" + headers + "\r\n" + body);
    return ReadResponse();
  }

 private:
  std::string Take(size_t count) {
    std::string taken = buffer_.substr(0, count);
    buffer_.erase(0, count);
    return taken;
  }

  // A socket with a time limit does not take up a read again by itself when the process has been
  // stopped and continued (signal(7)): the read fails with EINTR, and nothing has happened.
  ssize_t Receive(char* bytes, size_t size) {
    ssize_t n = 0;
    do {
      n = transport_ ? transport_->Receive(bytes, size) : ::recv(fd_, bytes, size, 0);
    } while (n < 0 && errno == EINTR);
    return n;
  }

  int fd_ = -1;
  std::unique_ptr<ClientTransport> transport_;
  bool connected_ = false;
  std::string end_;
  std::string buffer_;
};

// Waits, up to the patience of a client, until `condition` holds.
template <class Condition>
bool Eventually(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + kClientPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace millrace
