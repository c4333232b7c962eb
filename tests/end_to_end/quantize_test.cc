// The real binary: kills at random moments and limits on file sizes leave no torn file.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "gguf/gguf.h"
#include "tests/test_paths.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::string Bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
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
  const auto start = std::chrono::steady_clock::now();
  ASSERT_EQ(Finish(Start("Q4_K_M")), 0);
  const auto whole = std::chrono::steady_clock::now() - start;
  const std::string new_bytes = Bytes(out_);
  ASSERT_TRUE(MappedGguf::Open(out_).ok());
  CounterRng rng(1, 0);
  int killed = 0;
  for (int i = 0; i < 100; ++i) {
    // Every other time there was no file before.
    const std::string old_bytes = i % 2 == 0 ? "an older file" : "";
    fs::remove(out_);
    if (!old_bytes.empty()) std::ofstream(out_) << old_bytes;
    const pid_t child = Start("Q4_K_M");
    std::this_thread::sleep_for(rng.NextDouble() * 1.1 * whole);
    kill(child, SIGKILL);
    if (Finish(child) == -1) ++killed;
    const bool there = fs::exists(out_);
    const std::string now = there ? Bytes(out_) : "";
    ASSERT_TRUE(now == old_bytes || now == new_bytes) << "a file of " << now.size() << " bytes";
  }
  EXPECT_GT(killed, 20);
}

TEST_F(QuantizeBinary, AFullDiskGivesASentenceAndLeavesTheOldFile) {
  std::ofstream(out_) << "an older file";
  for (const rlim_t bytes : {rlim_t{0}, rlim_t{4096}, rlim_t{1} << 20, rlim_t{2} << 20}) {
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
  for (int i = 0; i < 20; ++i) {
    std::ofstream(damaged, std::ios::binary) << whole.substr(0, rng.NextU64() % whole.size());
    const int code = Finish(Start("Q4_K_M"));
    EXPECT_TRUE(code == 1 || code == 2) << code;
    EXPECT_THAT(Bytes(errors_), HasSubstr("millrace: "));
    EXPECT_FALSE(fs::exists(out_));
  }
}

}  // namespace
}  // namespace millrace
