#include "lab/server_child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>

namespace millrace {
namespace {

using std::chrono::milliseconds;

std::string WholeFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// The number behind "NAME:" in /proc/PID/status, in bytes.
int64_t StatusBytes(const std::string& status, std::string_view name) {
  const size_t at = status.find(name);
  return at == std::string::npos
             ? 0
             : std::strtoll(status.c_str() + at + name.size(), nullptr, 10) * 1024;
}

std::string LastLines(const std::string& text, int lines) {
  size_t at = text.size();
  for (int i = 0; i <= lines && at != std::string::npos && at > 0; ++i)
    at = text.rfind('\n', at - 1);
  return text.substr(at == std::string::npos ? 0 : at);
}

pid_t Launch(std::vector<std::string> words, const std::string& log_file) {
  std::vector<char*> arguments, environment;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  for (char** at = environ; *at != nullptr; ++at) {
    if (std::strncmp(*at, "MILLRACE_", 9) != 0) environment.push_back(*at);
  }
  environment.push_back(nullptr);
  const int log = ::open(log_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (log < 0) return -1;
  const pid_t process = ::fork();
  if (process == 0) {  // only calls that are safe after a fork from here to execve
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    ::execve(arguments[0], arguments.data(), environment.data());
    ::_exit(127);
  }
  ::close(log);
  return process;
}

}  // namespace

Result<std::unique_ptr<ServerChild>> ServerChild::Start(const std::string& binary,
                                                        const std::vector<std::string>& flags,
                                                        const std::string& log_file,
                                                        double seconds) {
  std::vector<std::string> words = {binary, "serve"};
  words.insert(words.end(), flags.begin(), flags.end());
  for (const char* word :
       {"--host", "127.0.0.1", "--port", "0", "--log-format", "text", "--log-level", "info"}) {
    words.emplace_back(word);
  }
  const pid_t process = Launch(words, log_file);
  if (process < 0)
    return Error{"cannot start a server process: " + std::string(std::strerror(errno)),
                 ErrorKind::kIo};
  std::unique_ptr<ServerChild> child(new ServerChild(process, 0));
  constexpr std::string_view kMark = " on http://127.0.0.1:";
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    const std::string log = WholeFile(log_file);
    const size_t at = log.find(kMark);
    if (at != std::string::npos && log.find('\n', at) != std::string::npos) {
      child->port_ = static_cast<uint16_t>(std::atoi(log.c_str() + at + kMark.size()));
      constexpr std::string_view kContext = "(context ";
      if (const size_t context = log.find(kContext, at); context != std::string::npos)
        child->context_tokens_ = std::atoi(log.c_str() + context + kContext.size());
      return child;
    }
    int status = 0;
    if (::waitpid(process, &status, WNOHANG) == process) {
      child->process_ = -1;
      return Error{"the server did not start: " + LastLines(WholeFile(log_file), 3),
                   ErrorKind::kIo};
    }
    std::this_thread::sleep_for(milliseconds(5));
  }
  return Error{fmt::format("the server did not listen within {:.0f} s: {}", seconds,
                           LastLines(WholeFile(log_file), 3)),
               ErrorKind::kIo};
}

ServerChild::~ServerChild() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
}

ServerChild::Memory ServerChild::memory() const {
  const std::string status = WholeFile(fmt::format("/proc/{}/status", process_));
  return {StatusBytes(status, "VmRSS:"), StatusBytes(status, "VmHWM:")};
}

double ServerChild::cpu_seconds() const {
  const std::string stat = WholeFile(fmt::format("/proc/{}/stat", process_));
  // Behind the command's name in brackets: field 3 on; 14 and 15 are user and system time.
  std::istringstream fields(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

void ServerChild::Stop() {
  if (process_ <= 0) return;
  ::kill(process_, SIGTERM);
  for (int i = 0; i < 2000; ++i) {
    if (::waitpid(process_, nullptr, WNOHANG) == process_) {
      process_ = -1;
      return;
    }
    std::this_thread::sleep_for(milliseconds(5));
  }
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  process_ = -1;
}

Handicap::Handicap(pid_t process, double percent)
    : thread_([this, process, percent] {
        using Steady = std::chrono::steady_clock;
        constexpr std::chrono::duration<double> kSlice{0.01};
        // How long it ought to have stood still by now; the sleeps are not exact, so what is owed
        // is made up for in the next slice.
        double owed = 0;
        while (!over_) {
          const auto begin = Steady::now();
          std::this_thread::sleep_for(kSlice);
          owed += std::chrono::duration<double>(Steady::now() - begin).count() * percent / 100;
          const auto stopped = Steady::now();
          ::kill(process, SIGSTOP);
          if (owed > 0) std::this_thread::sleep_for(std::chrono::duration<double>(owed));
          ::kill(process, SIGCONT);
          owed -= std::chrono::duration<double>(Steady::now() - stopped).count();
        }
      }) {}

Handicap::~Handicap() {
  over_ = true;
  thread_.join();
}

}  // namespace millrace
