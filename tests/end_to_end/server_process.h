// A `millrace serve` process of its own, for tests: the real binary on a port that the system
// chooses.
//
// Invariant: the process does not outlive this object, nor the test where the test dies.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace millrace {

class ServerProcess {
 public:
  // Starts `binary serve --port 0 flags...` and waits until it listens (kStarted: does not wait).
  // MILLRACE_... variables of the caller's environment are not passed on. port() is 0 where it did
  // not come to listen; Log() then says why.
  enum class Until { kListens, kStarted };
  ServerProcess(const std::string& binary, const std::vector<std::string>& flags,
                Until until = Until::kListens);
  ~ServerProcess();  // kills what still runs
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  uint16_t port() const { return port_; }
  // Everything written so far to standard output and standard error.
  std::vector<std::string> Log() const;
  // How many lines of the log hold all of `parts`.
  int Count(const std::vector<std::string>& parts) const;
  // The first line that holds `part`; empty where there is none.
  std::string FirstLine(const std::string& part) const;

  pid_t id() const { return process_; }
  void Terminate();  // sends SIGTERM and returns at once
  void Kill();       // with SIGKILL, and waits until it is gone
  // Waits for the process to end by itself. Its exit status; nothing where a signal ended it or it
  // is still there after two minutes.
  std::optional<int> WaitForExit();

 private:
  void ReadLog(int from);
  void Reap(int options);

  pid_t process_ = -1;
  bool ended_ = false;
  int status_ = 0;
  uint16_t port_ = 0;
  std::thread reader_;
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
  bool log_ended_ = false;
};

}  // namespace millrace
