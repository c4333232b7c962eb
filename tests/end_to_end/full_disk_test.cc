// `millrace quantize` on a disk that is really full: a file system in memory, too small for OUT.
// Mounting takes root and a mount namespace of its own; without them these tests are skipped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "tests/test_paths.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

struct Outcome {
  int code = -1;
  std::string errors;
};

// What a command prints to standard error, and its exit code.
Outcome RunForErrors(const std::string& command) {
  FILE* pipe = popen((command + " 2>&1 >/dev/null").c_str(), "r");
  Outcome outcome;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
    outcome.errors.append(buffer, n);
  const int status = pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

class FullDisk : public ::testing::Test {
 protected:
  static constexpr const char* kOldFile = "an older file that must survive";

  FullDisk() : disk_(fs::temp_directory_path() / ("millrace-disk-" + std::to_string(getpid()))) {
    fs::create_directories(disk_);
  }
  ~FullDisk() override {
    if (mounted_) umount(disk_.c_str());
    fs::remove(disk_);
  }

  // A file system of so many KiB at disk_, seen by this process and its children alone.
  bool Mount(int kib) {
    if (unshare(CLONE_NEWNS) != 0) return Failed("unshare");
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return Failed("mount");
    const std::string options = "size=" + std::to_string(kib) + "k";
    if (mount("millrace-test", disk_.c_str(), "tmpfs", 0, options.c_str()) != 0)
      return Failed("mount");
    return mounted_ = true;
  }

  Outcome Quantize(const std::string& type) const {
    return RunForErrors(std::string(MILLRACE_BINARY) + " quantize '" + SourceDir() +
                        "/models/evidence-target.gguf' '" + Path("out.gguf") + "' " + type);
  }
  std::string Path(const char* name) const { return (disk_ / name).string(); }
  std::string Read(const char* name) const {
    std::ifstream file(Path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::set<std::string> Names() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(disk_)) names.insert(entry.path().filename());
    return names;
  }

  fs::path disk_;
  std::string why_not_;
  bool mounted_ = false;

 private:
  bool Failed(const char* what) {
    why_not_ = std::string("no file system to fill: ") + what + ": " + std::strerror(errno) +
               " (it takes root)";
    return false;
  }
};

// Q4_K_M of the demo model takes 2.3 MiB.
TEST_F(FullDisk, NothingIsLostAndASentenceSaysSo) {
  if (!Mount(1024)) GTEST_SKIP() << why_not_;
  std::ofstream(Path("out.gguf")) << kOldFile;
  const Outcome full = Quantize("Q4_K_M");
  EXPECT_EQ(full.code, 1);
  EXPECT_THAT(full.errors, HasSubstr("millrace: Cannot write"));
  EXPECT_THAT(full.errors, HasSubstr("No space left on device"));
  EXPECT_EQ(Read("out.gguf"), kOldFile);
  EXPECT_EQ(Names(), std::set<std::string>{"out.gguf"}) << "what was begun is cleaned away";
}

TEST_F(FullDisk, WithoutAnOldFileNoneAppears) {
  if (!Mount(1024)) GTEST_SKIP() << why_not_;
  EXPECT_EQ(Quantize("Q8_0").code, 1);
  EXPECT_EQ(Names(), std::set<std::string>{});
}

// Room for the new file only while the old one is there too: the old one stays until the new one is
// whole, so a disk that holds one of them is too small; one that holds both is not.
TEST_F(FullDisk, TheSameDiskServesOnceThereIsRoom) {
  if (!Mount(3 * 1024)) GTEST_SKIP() << why_not_;
  ASSERT_EQ(Quantize("Q4_K_M").code, 0);
  const std::string first = Read("out.gguf");
  EXPECT_GT(first.size(), 2u << 20);
  EXPECT_EQ(Quantize("Q4_0").code, 1);
  EXPECT_EQ(Read("out.gguf"), first);
  fs::remove(Path("out.gguf"));
  EXPECT_EQ(Quantize("Q4_0").code, 0);
  EXPECT_NE(Read("out.gguf"), first);
  EXPECT_EQ(Names(), std::set<std::string>{"out.gguf"});
}

}  // namespace
}  // namespace millrace
