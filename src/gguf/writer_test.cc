#include "gguf/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "gguf/gguf_test_file.h"

namespace millrace {
namespace {

using testing::HasSubstr;

class WriterTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "millrace_writer_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }
  static std::string Contents(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string folder_;
};

TEST_F(WriterTest, WriteToWritesWhatSerializeGives) {
  const SampleData data;
  const GgufWriter writer = SampleWriter(data);
  const std::string path = folder_ + "/model.gguf";
  const Status status = writer.WriteTo(path);
  ASSERT_TRUE(status.ok()) << status.error().message;
  const std::vector<std::byte> bytes = writer.Serialize();
  const std::string expected(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  EXPECT_EQ(Contents(path), expected);
  EXPECT_THAT(Files(), testing::ElementsAre("model.gguf"));
}

TEST_F(WriterTest, WriteToReplacesAnOldFile) {
  const SampleData data;
  const std::string path = folder_ + "/model.gguf";
  std::ofstream(path) << "old";
  ASSERT_TRUE(SampleWriter(data).WriteTo(path).ok());
  EXPECT_TRUE(MappedGguf::Open(path).ok());
  EXPECT_THAT(Files(), testing::ElementsAre("model.gguf"));
}

TEST_F(WriterTest, MetadataOfEveryKindCopiesUnchanged) {
  RawGguf raw;
  raw.Head(0, 4);
  raw.Key("u16", 2).Add<uint16_t>(60000);
  raw.Key("f64", 12).Add<double>(0.1);
  raw.Key("bools", 9).Add<uint32_t>(7).Add<uint64_t>(2).Add<uint8_t>(1).Add<uint8_t>(0);
  raw.Key("general.alignment", 4).Add<uint32_t>(64);
  const auto source = ParseGguf(raw.bytes(), "source");
  ASSERT_TRUE(source.ok()) << source.error().message;
  GgufWriter writer;
  for (const auto& [key, value] : source->metadata()) writer.AddRaw(key, source->RawValue(key));
  const std::vector<std::byte> bytes = writer.Serialize();
  const auto copy = ParseGguf(bytes, "copy");
  ASSERT_TRUE(copy.ok()) << copy.error().message;
  EXPECT_EQ(copy->metadata().size(), 3u);
  EXPECT_EQ(copy->alignment(), 32u);
  for (const char* key : {"u16", "f64", "bools"}) {
    EXPECT_EQ(*copy->Find(key), *source->Find(key)) << key;
    EXPECT_TRUE(std::ranges::equal(copy->RawValue(key), source->RawValue(key))) << key;
  }
}

TEST_F(WriterTest, AMissingFolderIsAnError) {
  const SampleData data;
  const Status status = SampleWriter(data).WriteTo(folder_ + "/absent/model.gguf");
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kIo);
  EXPECT_THAT(status.error().message, HasSubstr("/absent/model.gguf: No such file or directory"));
}

// The child may write 4 kB to a file, so the write fails half-way, as on a full disk.
TEST_F(WriterTest, AFailedWriteLeavesTheOldFileAndNothingElse) {
  const std::vector<float> weights(1 << 16, 1.0f);
  GgufWriter writer;
  writer.AddTensor("w", DType::kF32, std::vector<int64_t>{1 << 16},
                   std::as_bytes(std::span(weights)));
  const std::string path = folder_ + "/model.gguf";
  std::ofstream(path) << "old";
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {4096, 4096};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(2);
    const Status status = writer.WriteTo(path);
    _exit(!status.ok() && status.error().kind == ErrorKind::kIo &&
                  status.error().message.find("File too large") != std::string::npos
              ? 0
              : 1);
  }
  int exit_status = 0;
  ASSERT_EQ(waitpid(child, &exit_status, 0), child);
  ASSERT_TRUE(WIFEXITED(exit_status));
  EXPECT_EQ(WEXITSTATUS(exit_status), 0);
  EXPECT_EQ(Contents(path), "old");
  EXPECT_THAT(Files(), testing::ElementsAre("model.gguf"));
}

TEST(GgufWriterDeathTest, RefusesDataThatDoNotFitTheShape) {
  GgufWriter writer;
  const std::vector<float> weights(4, 1.0f);
  const auto bytes = std::as_bytes(std::span(weights));
  EXPECT_DEATH(writer.AddTensor("w", DType::kF32, std::vector<int64_t>{5}, bytes), "CHECK failed");
  writer.AddTensor("w", DType::kF32, std::vector<int64_t>{4}, bytes);
  EXPECT_DEATH(writer.AddTensor("w", DType::kF32, std::vector<int64_t>{4}, bytes), "CHECK failed");
  writer.AddU32("k", 1);
  EXPECT_DEATH(writer.AddU32("k", 1), "CHECK failed");
}

}  // namespace
}  // namespace millrace
