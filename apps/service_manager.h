// ServiceManager: what systemd, or whoever else started the process, hears of it (sd_notify(3)) and
// says to it (signals).
//
// The protocol is one datagram of lines to the socket that NOTIFY_SOCKET names, as that manual page
// describes it for programs without libsystemd. Without the variable nothing is sent.
#pragma once

#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace {

// Each connection is an open file, and so is each store: many systems allow 1,024 unless asked.
void AllowFiles(int64_t wanted);

// What the process does while it waits for its end.
struct ServiceDuties {
  std::function<void()> tend;    // every 100 ms
  std::function<bool()> alive;   // asked once in half of the watchdog's time: whether work goes on
  std::function<void()> reload;  // at SIGHUP; may be empty
};

class ServiceManager {
 public:
  // Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, takes them out of the environment, and
  // blocks SIGTERM, SIGINT and SIGHUP: before any thread starts, so that every thread inherits it.
  ServiceManager();

  // READY=1 with what systemctl status shows. A socket that does not take it is a logged warning.
  void Ready(const std::string& status);
  // STOPPING=1.
  void Stopping();
  // Returns SIGTERM or SIGINT when one comes, and SIGHUP where nothing is to be reloaded and nobody
  // manages the process: then its terminal has gone. While duties.alive says yes, the watchdog
  // hears so.
  int WaitForEnd(const ServiceDuties& duties);

 private:
  Status Send(std::string_view lines) const;
  void Reload(const ServiceDuties& duties);

  std::string socket_;                     // a path, or "@" and an abstract name; empty: none
  std::chrono::microseconds watchdog_{0};  // 0: nobody watches
  std::string status_;
  sigset_t signals_{};
};

}  // namespace millrace
