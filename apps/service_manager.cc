#include "service_manager.h"

#include <pthread.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>

namespace millrace {
namespace {

using std::chrono::microseconds;

std::string TakeVariable(const char* name) {
  const char* value = std::getenv(name);
  std::string taken = value == nullptr ? "" : value;
  ::unsetenv(name);  // a child must not speak in this process's name
  return taken;
}

std::optional<int64_t> NumberIn(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

int64_t MonotonicMicroseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

}  // namespace

void AllowFiles(int64_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t needed = static_cast<rlim_t>(wanted) + 256;
  if (limit.rlim_cur < needed) {
    limit.rlim_cur = std::min(needed, limit.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  if (limit.rlim_cur < needed) {
    spdlog::warn(
        "this process may open {} files, fewer than --max-connections {} needs: see ulimit",
        limit.rlim_cur, wanted);
  }
}

ServiceManager::ServiceManager() : socket_(TakeVariable("NOTIFY_SOCKET")) {
  const std::optional<int64_t> interval = NumberIn(TakeVariable("WATCHDOG_USEC"));
  const std::optional<int64_t> watched = NumberIn(TakeVariable("WATCHDOG_PID"));
  if (interval && *interval > 0 && (!watched || *watched == ::getpid())) {
    watchdog_ = microseconds(*interval);
  }
  sigemptyset(&signals_);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

Status ServiceManager::Send(std::string_view lines) const {
  if (socket_.empty()) return {};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if ((socket_[0] != '/' && socket_[0] != '@') || socket_.size() >= sizeof(address.sun_path)) {
    return Error{"NOTIFY_SOCKET " + socket_ + " is no path of a socket: start without it"};
  }
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_[0] == '@') address.sun_path[0] = '\0';  // an abstract name: unix(7)
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size() +
                                             (socket_[0] == '/' ? 1 : 0));
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const bool sent = fd >= 0 && ::sendto(fd, lines.data(), lines.size(), MSG_NOSIGNAL,
                                        reinterpret_cast<const sockaddr*>(&address),
                                        length) == static_cast<ssize_t>(lines.size());
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (sent) return {};
  return Error{"cannot tell the service manager at " + socket_ + ": " + std::strerror(error),
               ErrorKind::kIo};
}

void ServiceManager::Ready(const std::string& status) {
  status_ = status;
  const Status sent = Send("READY=1\nSTATUS=" + status_ + "\n");
  if (!sent.ok()) spdlog::warn("{}", sent.error().message);
}

void ServiceManager::Stopping() {
  const Status sent = Send("STOPPING=1\nSTATUS=finishing what runs\n");
  if (!sent.ok()) spdlog::warn("{}", sent.error().message);
}

void ServiceManager::Reload(const ServiceDuties& duties) {
  (void)Send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(MonotonicMicroseconds()) + "\n");
  if (duties.reload) {
    duties.reload();
  } else {
    spdlog::info("SIGHUP: there is nothing to read anew");
  }
  Ready(status_);
}

int ServiceManager::WaitForEnd(const ServiceDuties& duties) {
  constexpr timespec kTend{.tv_sec = 0, .tv_nsec = 100'000'000};
  auto heard = std::chrono::steady_clock::now();
  while (true) {
    const int signal = ::sigtimedwait(&signals_, nullptr, &kTend);
    if (signal == SIGHUP && (duties.reload || !socket_.empty())) {
      Reload(duties);
    } else if (signal > 0) {
      return signal;  // SIGHUP among them: the terminal has gone
    }
    duties.tend();
    if (watchdog_.count() == 0) continue;
    const auto now = std::chrono::steady_clock::now();
    if (now - heard < watchdog_ / 2) continue;
    heard = now;
    if (duties.alive()) (void)Send("WATCHDOG=1\n");
  }
}

}  // namespace millrace
