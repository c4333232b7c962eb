#include "tests/scenarios/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

namespace millrace {

Socket::Socket(uint16_t port, std::string request) : unsent_(std::move(request)) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int result = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  if (result != 0 && errno != EINPROGRESS) Close();
}

Socket::Socket(Socket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      unsent_(std::move(other.unsent_)),
      received_(std::move(other.received_)) {}

pollfd Socket::Wanted() const {
  const short events = unsent_.empty() ? POLLIN : POLLIN | POLLOUT;
  return {.fd = fd_, .events = events, .revents = 0};
}

void Socket::Move() {
  while (open() && !unsent_.empty()) {
    const ssize_t n = ::send(fd_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    if (n <= 0) {
      if (errno != EAGAIN) Close();
      break;
    }
    unsent_.erase(0, static_cast<size_t>(n));
  }
  char bytes[16 * 1024];
  while (open()) {
    const ssize_t n = ::recv(fd_, bytes, sizeof(bytes), 0);
    if (n > 0) received_.append(bytes, static_cast<size_t>(n));
    if (n == 0) Close();
    if (n < 0 && errno != EAGAIN) Close();
    if (n < static_cast<ssize_t>(sizeof(bytes))) break;  // no more has come
  }
}

void Socket::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

bool Socket::Ended() const {
  constexpr std::string_view kOk = "HTTP/1.1 200";
  const bool refused = received_.size() > kOk.size() && received_.compare(0, kOk.size(), kOk) != 0;
  return !open() || refused || received_.ends_with("\r\n0\r\n\r\n");
}

std::optional<std::string> Socket::TakeAnswer() {
  constexpr std::string_view kLength = "\r\nContent-Length: ";
  const size_t head = received_.find("\r\n\r\n");
  const size_t length = received_.find(kLength);
  if (head == std::string::npos || length > head) return std::nullopt;
  const size_t size =
      head + 4 + std::strtoul(received_.c_str() + length + kLength.size(), nullptr, 10);
  if (received_.size() < size) return std::nullopt;
  std::string answer = received_.substr(0, size);
  received_.erase(0, size);
  return answer;
}

}  // namespace millrace
