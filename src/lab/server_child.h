// A `millrace serve` process started by the lab, on a loopback port that the system chooses.
//
// Invariant: the process does not outlive this object, nor this process. MILLRACE_... variables of
// the environment are not passed on: the flags say everything.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"

namespace millrace {

class ServerChild {
 public:
  // Starts `binary serve flags... --host 127.0.0.1 --port 0` and waits up to `seconds` until it
  // listens. Its output goes to `log_file`. The error quotes the log's last lines.
  static Result<std::unique_ptr<ServerChild>> Start(const std::string& binary,
                                                    const std::vector<std::string>& flags,
                                                    const std::string& log_file,
                                                    double seconds = 300);
  ~ServerChild();  // kills what still runs
  ServerChild(const ServerChild&) = delete;
  ServerChild& operator=(const ServerChild&) = delete;

  uint16_t port() const { return port_; }
  pid_t id() const { return process_; }
  int32_t context_tokens() const { return context_tokens_; }  // longest sequence; 0: not said
  struct Memory {
    int64_t resident = 0;  // bytes, now
    int64_t peak = 0;      // bytes, since its start
  };
  Memory memory() const;       // zeros where the system does not tell
  double cpu_seconds() const;  // of all its threads, so far
  // SIGTERM, and waits for its end; SIGKILL where that takes over ten seconds.
  void Stop();

 private:
  ServerChild(pid_t process, uint16_t port) : process_(process), port_(port) {}

  pid_t process_;
  uint16_t port_;
  int32_t context_tokens_ = 0;
};

// Stops a process for a part of the time, so that what it does takes `percent` longer. Ends, and
// lets it go on, on destruction; the process must live until then.
class Handicap {
 public:
  Handicap(pid_t process, double percent);
  ~Handicap();
  Handicap(const Handicap&) = delete;
  Handicap& operator=(const Handicap&) = delete;

 private:
  std::atomic<bool> over_{false};
  std::thread thread_;
};

}  // namespace millrace
