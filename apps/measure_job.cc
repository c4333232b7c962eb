#include "measure_job.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "command_line.h"
#include "lab/lab_switch.h"
#include "reporting.h"

namespace millrace {
namespace {

constexpr double kLeastMinutes = 0.2, kMostMinutes = 60;

Status CheckSwitches(const std::vector<std::string>& switches) {
  std::string known;
  for (const LabSwitch& s : LabSwitches())
    known += (known.empty() ? "" : ", ") + std::string(s.flag);
  for (const std::string& name : switches) {
    const auto list = LabSwitches();
    if (std::none_of(list.begin(), list.end(), [&](const LabSwitch& s) { return s.flag == name; }))
      return Error{"switches must be some of " + known + "."};
  }
  if (switches.empty()) return Error{"switches must name what to measure: some of " + known + "."};
  return {};
}

// Starts `words` with both outputs in `log`.
pid_t Spawn(std::vector<std::string> words, const std::string& log) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const int file = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return -1;
  const pid_t process = ::fork();
  if (process == 0) {  // only calls that are safe after a fork from here to execv
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(file, STDOUT_FILENO);
    ::dup2(file, STDERR_FILENO);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(file);
  return process;
}

std::string LastLine(const std::string& text) {
  const size_t end = text.find_last_not_of('\n');
  if (end == std::string::npos) return {};
  const size_t begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1, end - (begin + 1) + 1);
}

// "[3/20] prefix reuse off, about 1 min left": the last such line.
void ReadProgress(const std::string& log, MeasureState& state) {
  for (size_t at = log.rfind("\n["); at != std::string::npos && at > 0;
       at = log.rfind("\n[", at - 1)) {
    int done = 0, total = 0, used = 0;
    if (std::sscanf(log.c_str() + at, "\n[%d/%d] %n", &done, &total, &used) != 2 || used == 0)
      continue;
    const size_t begin = at + static_cast<size_t>(used);
    state.done = done - 1;
    state.total = total;
    state.progress = log.substr(begin, log.find('\n', begin) - begin);
    return;
  }
}

}  // namespace

MeasureJob::MeasureJob(std::string model, std::string draft)
    : model_(std::move(model)), draft_(std::move(draft)) {}

MeasureJob::~MeasureJob() {
  Kill();
  RemoveFolder();
}

Status MeasureJob::Start(const std::vector<std::string>& switches, double minutes) {
  RETURN_IF_ERROR(CheckSwitches(switches));
  if (!(minutes >= kLeastMinutes && minutes <= kMostMinutes)) {
    return Error{fmt::format("minutes must be from {} to {}.", kLeastMinutes, kMostMinutes)};
  }
  const std::lock_guard lock(mutex_);
  Look();
  if (process_ > 0) {
    return Error{"A measurement is under way: cancel it or wait for its end.",
                 ErrorKind::kExhausted};
  }
  RemoveFolder();
  std::error_code failed;
  std::string folder =
      (std::filesystem::temp_directory_path(failed) / "millrace-measure-XXXXXX").string();
  if (failed || ::mkdtemp(folder.data()) == nullptr) {
    return Error{"cannot make a folder for the measurement: " + std::string(std::strerror(errno)),
                 ErrorKind::kIo};
  }
  folder_ = folder;
  std::string list;
  for (const std::string& name : switches) list += (list.empty() ? "" : ",") + name;
  std::vector<std::string> words = {
      std::filesystem::read_symlink("/proc/self/exe", failed).string(),
      "measure",
      "demo",
      "--quick",
      "--fresh",
      "--budget",
      fmt::format("{}", minutes),
      "--switches",
      list,
      "--out",
      folder_ + "/out"};
  if (!model_.empty()) words.insert(words.end(), {"--model", model_});
  if (!draft_.empty()) words.insert(words.end(), {"--draft", draft_});
  const pid_t process = Spawn(std::move(words), folder_ + "/log");
  if (process < 0) {
    return Error{"cannot start the measurement: " + std::string(std::strerror(errno)),
                 ErrorKind::kIo};
  }
  process_ = process;
  report_.clear();
  const int64_t serial = state_.serial + 1;
  state_ = {};
  state_.serial = serial;
  state_.state = "running";
  state_.switches = switches;
  return {};
}

std::string MeasureJob::Log() const {
  const auto text = ReadFile(folder_ + "/log");
  return text.ok() ? *text : std::string();
}

void MeasureJob::Look() {
  if (process_ <= 0) return;
  const std::string log = Log();
  ReadProgress(log, state_);
  int status = 0;
  if (::waitpid(process_, &status, WNOHANG) != process_) return;
  process_ = -1;
  const auto report = ReadFile(folder_ + "/out/report.json");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && report.ok()) {
    state_.state = "done";
    state_.done = state_.total;
    report_ = *report;
  } else {
    state_.state = "failed";
    state_.message = LastLine(log);
  }
}

MeasureState MeasureJob::state() {
  const std::lock_guard lock(mutex_);
  Look();
  return state_;
}

void MeasureJob::Cancel() {
  const std::lock_guard lock(mutex_);
  Look();
  if (process_ <= 0) return;
  Kill();
  state_.state = "cancelled";
}

std::string MeasureJob::report() {
  const std::lock_guard lock(mutex_);
  Look();
  return report_;
}

// Its servers die with it.
void MeasureJob::Kill() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  process_ = -1;
}

void MeasureJob::RemoveFolder() {
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  folder_.clear();
}

MeasureHooks HooksOf(std::shared_ptr<MeasureJob> job) {
  MeasureHooks hooks;
  hooks.start = [job](const std::vector<std::string>& switches, double minutes) {
    return job->Start(switches, minutes);
  };
  hooks.state = [job] { return job->state(); };
  hooks.cancel = [job] { job->Cancel(); };
  hooks.report = [job] { return job->report(); };
  return hooks;
}

}  // namespace millrace
