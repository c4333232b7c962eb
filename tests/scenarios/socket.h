// A socket that never blocks, so that one thread can serve very many: the clients of a scenario run
// on the server's own machine, and what they cost is taken from it.
#pragma once

#include <poll.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

class Socket {
 public:
  // `request` is sent as soon as the connection stands.
  explicit Socket(uint16_t port, std::string request = {});
  ~Socket() { Close(); }
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&&) = delete;

  pollfd Wanted() const;
  // Sends and takes what it can.
  void Move();
  void Send(std::string_view bytes) { unsent_ += bytes; }
  void Close();
  bool open() const { return fd_ >= 0; }
  const std::string& received() const { return received_; }
  // A stream's end or a refusal has come (which is short: it comes in one piece), or the connection
  // is closed.
  bool Ended() const;
  // Takes the first whole answer that has a Content-Length out of what was received.
  std::optional<std::string> TakeAnswer();

 private:
  int fd_ = -1;
  std::string unsent_, received_;
};

}  // namespace millrace
