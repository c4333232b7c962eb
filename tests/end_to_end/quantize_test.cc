// The real binary: kills at random moments and limits on file sizes leave no torn file.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "base/sanitizer_for_test.h"
#include "gguf/gguf.h"
#include "tests/test_paths.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

// The binary is as slow as this test when both are built with a sanitizer.
constexpr int kKills = kUnderSanitizer ? 12 : 100;
constexpr int kDamagedFiles = kUnderSanitizer ? 5 : 20;
constexpr int kQuestions = kUnderSanitizer ? 20 : 60;
constexpr int kScoredTokens = kUnderSanitizer ? 1000 : 6000;

std::string Bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Of the processor, used by children that have ended.
double ChildrensSeconds() {
  rusage used{};
  getrusage(RUSAGE_CHILDREN, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

// Once it has used so much processor time (which goes on as the work does, however busy the machine
// is), or has ended.
void KillAfter(pid_t child, double processor_seconds) {
  const std::string path = "/proc/" + std::to_string(child) + "/stat";
  const auto ticks =
      static_cast<int64_t>(static_cast<double>(sysconf(_SC_CLK_TCK)) * processor_seconds);
  while (true) {
    const std::string stat = Bytes(path);
    std::istringstream fields(stat.substr(std::min(stat.rfind(')'), stat.size() - 1) + 1));
    std::string state, skipped;
    fields >> state;
    for (int i = 0; i < 10; ++i) fields >> skipped;
    int64_t user = 0, system = 0;
    if (!(fields >> user >> system) || state == "Z" || user + system >= ticks) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  kill(child, SIGKILL);
}

class QuantizeBinary : public ::testing::Test {
 protected:
  QuantizeBinary()
      : folder_(fs::temp_directory_path() / ("millrace-kill-" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
    in_ = SourceDir() + "/models/evidence-target.gguf";
    out_ = (folder_ / "out.gguf").string();
    errors_ = (folder_ / "errors").string();
  }
  ~QuantizeBinary() override { fs::remove_all(folder_); }

  pid_t Start(const std::string& type, rlim_t most_bytes = RLIM_INFINITY) {
    const pid_t child = fork();
    if (child != 0) return child;
    const rlimit limit = {most_bytes, most_bytes};
    setrlimit(RLIMIT_FSIZE, &limit);
    const int fd = open(errors_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, STDERR_FILENO);
    dup2(fd, STDOUT_FILENO);
    execl(MILLRACE_BINARY, MILLRACE_BINARY, "quantize", in_.c_str(), out_.c_str(), type.c_str(),
          nullptr);
    _exit(127);
  }
  int Finish(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  fs::path folder_;
  std::string in_, out_, errors_;
};

TEST_F(QuantizeBinary, KilledAtRandomMomentsLeavesTheOldFileOrTheNewOne) {
  const double before = ChildrensSeconds();
  ASSERT_EQ(Finish(Start("Q4_K_M")), 0);
  const double whole = ChildrensSeconds() - before;
  const std::string new_bytes = Bytes(out_);
  ASSERT_TRUE(MappedGguf::Open(out_).ok());
  CounterRng rng(1, 0);
  int killed = 0;
  for (int i = 0; i < kKills; ++i) {
    // Every other time there was no file before.
    const std::string old_bytes = i % 2 == 0 ? "an older file" : "";
    fs::remove(out_);
    if (!old_bytes.empty()) std::ofstream(out_) << old_bytes;
    const pid_t child = Start("Q4_K_M");
    KillAfter(child, 1.1 * rng.NextDouble() * whole);
    if (Finish(child) == -1) ++killed;
    const bool there = fs::exists(out_);
    const std::string now = there ? Bytes(out_) : "";
    ASSERT_TRUE(now == old_bytes || now == new_bytes) << "a file of " << now.size() << " bytes";
  }
  EXPECT_GT(killed, kKills / 5);
}

TEST_F(QuantizeBinary, AFullDiskGivesASentenceAndLeavesTheOldFile) {
  std::ofstream(out_) << "an older file";
  for (const rlim_t bytes : {rlim_t{0}, rlim_t{4096}, rlim_t{1} << 20, rlim_t{2} << 20}) {
    if (bytes == 0 && kUnderSanitizer) continue;  // its own start writes something
    EXPECT_EQ(Finish(Start("Q4_K_M", bytes)), 1);
    EXPECT_EQ(Bytes(out_), "an older file");
    if (bytes > 0) {  // the message needs room too
      EXPECT_THAT(Bytes(errors_), HasSubstr("Cannot write"));
      EXPECT_THAT(Bytes(errors_), HasSubstr("File too large"));
    }
  }
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder_)) ++files;
  EXPECT_EQ(files, 2u);
}

TEST_F(QuantizeBinary, DamagedInputGivesASentence) {
  const std::string whole = Bytes(in_);
  const std::string damaged = (folder_ / "damaged.gguf").string();
  CounterRng rng(2, 0);
  in_ = damaged;
  for (int i = 0; i < kDamagedFiles; ++i) {
    std::ofstream(damaged, std::ios::binary) << whole.substr(0, rng.NextU64() % whole.size());
    const int code = Finish(Start("Q4_K_M"));
    EXPECT_TRUE(code == 1 || code == 2) << code;
    EXPECT_THAT(Bytes(errors_), HasSubstr("millrace: "));
    EXPECT_FALSE(fs::exists(out_));
  }
}

// Standard output of a verb, as JSON.
nlohmann::json Json(const std::vector<std::string>& arguments) {
  std::string command = MILLRACE_BINARY;
  for (const std::string& a : arguments) command += " '" + a + "'";
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) text.append(buffer, n);
  EXPECT_EQ(pclose(pipe), 0) << command;
  return nlohmann::json::parse(text, nullptr, false);
}

TEST_F(QuantizeBinary, TheVerbsAgreeOnWhatEightAndTwoBitsCost) {
  const std::string eight = (folder_ / "eight.gguf").string();
  const std::string two = (folder_ / "two.gguf").string();
  Json({"quantize", in_, eight, "Q8_0", "--json"});
  const auto small = Json({"quantize", in_, two, "Q2_K", "--tensor", "token_embd=Q4_K", "--json"});
  EXPECT_LT(small["bytes"].get<double>(), 0.46 * static_cast<double>(fs::file_size(eight)));
  const auto kl = [&](const std::string& file) {
    return Json({"perplexity", file, "demo", "--reference", in_, "--max-tokens",
                 std::to_string(kScoredTokens), "--json"});
  };
  const auto good = kl(eight), bad = kl(two);
  EXPECT_LT(good["kl_mean"], 0.01);
  EXPECT_GT(good["same_top"], 0.98);
  EXPECT_GT(bad["kl_mean"].get<double>(), 10 * good["kl_mean"].get<double>());
  EXPECT_GT(bad["kl_standard_error"], 0);
  const auto same = kl(in_);
  EXPECT_LT(same["kl_mean"], 1e-6);
  EXPECT_EQ(same["same_top"], 1);
  const std::string questions = std::to_string(kQuestions);
  const auto task =
      Json({"evaluate", in_, "demo", "--questions", questions, "--against", eight, "--json"});
  EXPECT_GE(task["right"], kQuestions * 9 / 10);
  EXPECT_LE(task["comparison"]["lost"].get<int>(), 3);
  const std::string page = (folder_ / "page.html").string();
  const auto table =
      Json({"compare", in_, eight, two, "--task", "demo", "--questions", questions, "--text-tokens",
            std::to_string(kScoredTokens), "--html", page, "--json"});
  EXPECT_EQ(table["models"][0]["verdict"], "reference");
  EXPECT_EQ(table["models"][1]["task"]["questions"], kQuestions);
  EXPECT_THAT(Bytes(page), HasSubstr("</svg>"));
}

TEST_F(QuantizeBinary, ABudgetIsKeptAndVerified) {
  const std::string text = (folder_ / "text.txt").string();
  std::string sentence = "The price of Grigond is 726 euros. It is made of plastic. ";
  std::ofstream file(text);
  for (int i = 0; i < 60; ++i) file << sentence << i << " ";
  file.close();
  const auto plan = Json({"quantize", in_, out_, "--budget", "2600000", "--calibration", text,
                          "--sensitivity", "estimate", "--sensitivity-tokens", "600", "--json"});
  EXPECT_LE(plan["bytes"].get<double>(), 2600000);
  EXPECT_GT(plan["bytes"].get<double>(), 2300000);
  EXPECT_EQ(plan["bytes"].get<size_t>(), fs::file_size(out_));
  EXPECT_GT(plan["measured"]["kl_mean"].get<double>(), 0);
  const auto limit = Json({"quantize", in_, out_, "--max-kl", "0.02", "--calibration", text,
                           "--sensitivity", "estimate", "--sensitivity-tokens", "600", "--json"});
  EXPECT_LE(limit["measured"]["kl_mean"].get<double>(), 0.02);
}

}  // namespace
}  // namespace millrace
