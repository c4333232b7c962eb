#include "tests/end_to_end/server_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace millrace {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::minutes kPatience{2};

// True as soon as `condition` holds; false when patience is over.
template <class Condition>
bool WaitUntil(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(2));
  }
  return true;
}

std::vector<char*> EnvironmentWithoutOurs() {
  std::vector<char*> kept;
  for (char** at = environ; *at != nullptr; ++at) {
    if (std::strncmp(*at, "MILLRACE_", 9) != 0) kept.push_back(*at);
  }
  kept.push_back(nullptr);
  return kept;
}

}  // namespace

ServerProcess::ServerProcess(const std::string& binary, const std::vector<std::string>& flags,
                             Until until) {
  std::vector<std::string> words = {binary, "serve", "--port", "0"};
  words.insert(words.end(), flags.begin(), flags.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::vector<char*> environment = EnvironmentWithoutOurs();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return;
  process_ = ::fork();
  if (process_ == 0) {  // only calls that are safe after a fork from here to execve
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(ends[1], STDOUT_FILENO);
    ::dup2(ends[1], STDERR_FILENO);
    ::execve(arguments[0], arguments.data(), environment.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  reader_ = std::thread([this, from = ends[0]] { ReadLog(from); });
  if (until == Until::kStarted) return;
  constexpr std::string_view kMark = "://127.0.0.1:";  // http or https
  const auto listens = [&] { return !FirstLine(std::string(kMark)).empty(); };
  const auto gone = [&] {
    std::lock_guard lock(mutex_);
    return log_ended_;
  };
  WaitUntil([&] { return listens() || gone(); });
  const std::string line = FirstLine(std::string(kMark));
  if (line.empty()) return;
  port_ = static_cast<uint16_t>(std::atoi(line.c_str() + line.find(kMark) + kMark.size()));
}

ServerProcess::~ServerProcess() {
  Kill();
  if (reader_.joinable()) reader_.join();
}

void ServerProcess::ReadLog(int from) {
  std::string partial;
  char bytes[4096];
  for (ssize_t n = 0; (n = ::read(from, bytes, sizeof(bytes))) > 0;) {
    partial.append(bytes, static_cast<size_t>(n));
    std::lock_guard lock(mutex_);
    for (size_t end = 0; (end = partial.find('\n')) != std::string::npos;) {
      lines_.push_back(partial.substr(0, end));
      partial.erase(0, end + 1);
    }
  }
  ::close(from);
  std::lock_guard lock(mutex_);
  if (!partial.empty()) lines_.push_back(partial);
  log_ended_ = true;
}

std::vector<std::string> ServerProcess::Log() const {
  std::lock_guard lock(mutex_);
  return lines_;
}

int ServerProcess::Count(const std::vector<std::string>& parts) const {
  int count = 0;
  for (const std::string& line : Log()) {
    bool all = true;
    for (const std::string& part : parts) all = all && line.find(part) != std::string::npos;
    if (all) ++count;
  }
  return count;
}

std::string ServerProcess::FirstLine(const std::string& part) const {
  for (const std::string& line : Log()) {
    if (line.find(part) != std::string::npos) return line;
  }
  return {};
}

void ServerProcess::Terminate() {
  if (process_ > 0 && !ended_) ::kill(process_, SIGTERM);
}

void ServerProcess::Kill() {
  if (process_ <= 0 || ended_) return;
  ::kill(process_, SIGKILL);
  Reap(0);
}

std::optional<int> ServerProcess::WaitForExit() {
  if (process_ <= 0) return std::nullopt;
  WaitUntil([this] {
    Reap(WNOHANG);
    return ended_;
  });
  if (!ended_ || !WIFEXITED(status_)) return std::nullopt;
  if (reader_.joinable()) reader_.join();  // the log is whole
  return WEXITSTATUS(status_);
}

void ServerProcess::Reap(int options) {
  if (!ended_ && ::waitpid(process_, &status_, options) == process_) ended_ = true;
}

}  // namespace millrace
