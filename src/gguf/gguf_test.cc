#include "gguf/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "gguf/gguf_test_file.h"
#include "tests/test_paths.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Gguf, ReadsBackWhatTheWriterWrote) {
  const SampleData data;
  const std::vector<std::byte> bytes = SampleWriter(data).Serialize();
  const auto file = ParseGguf(bytes, "sample.gguf");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->version(), 3u);
  EXPECT_EQ(file->alignment(), 32u);
  EXPECT_EQ(file->name(), "sample.gguf");
  EXPECT_EQ(file->metadata().size(), 9u);
  EXPECT_EQ(*file->RequireString("general.architecture"), "llama");
  EXPECT_EQ(*file->RequireInt("llama.block_count", 1, 10), 2);
  EXPECT_EQ(*file->RequireInt("big", 0, std::numeric_limits<int64_t>::max()), int64_t{1} << 40);
  EXPECT_EQ(*file->RequireInt("negative", -10, 10), -5);
  EXPECT_EQ(*file->RequireFloat("epsilon"), 0.25);
  EXPECT_EQ(*file->RequireFloat("negative"), -5.0);
  EXPECT_EQ(*file->FindBool("yes"), std::optional<bool>(true));
  EXPECT_THAT(**file->FindStrings("words"), ElementsAre("a", "", "\xc4\xa0the", "d\xff"));
  EXPECT_THAT(**file->FindInts("types"), ElementsAre(1, -1, 3));
  EXPECT_THAT(**file->FindFloats("scores"), ElementsAre(0.5, -2.0));
}

TEST(Gguf, TensorsAreAlignedViewsOfTheirBytes) {
  const SampleData data;
  const std::vector<std::byte> bytes = SampleWriter(data).Serialize();
  const auto file = ParseGguf(bytes, "sample.gguf");
  ASSERT_TRUE(file.ok());
  ASSERT_EQ(file->tensors().size(), 3u);
  const GgufTensor* a = file->FindTensor("a.weight");
  ASSERT_NE(a, nullptr);
  EXPECT_THAT(a->shape, ElementsAre(3, 2));
  EXPECT_EQ(a->elements(), 6);
  EXPECT_EQ(a->row_length(), 3);
  EXPECT_EQ(a->rows(), 2);
  ASSERT_EQ(a->data.size(), 24u);
  EXPECT_EQ(std::memcmp(a->data.data(), data.floats.data(), 24), 0);
  const GgufTensor* b = file->FindTensor("b.weight");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->type, DType::kQ8_0);
  EXPECT_EQ(b->data.size(), 68u);
  EXPECT_EQ(b->data.back(), std::byte{7});
  for (const GgufTensor& tensor : file->tensors()) {
    EXPECT_EQ((tensor.data.data() - bytes.data()) % 32, 0) << tensor.name;
  }
  EXPECT_EQ(file->FindTensor("no such"), nullptr);
}

TEST(Gguf, AccessErrorsNameFileKeyAndOffset) {
  const SampleData data;
  const std::vector<std::byte> bytes = SampleWriter(data).Serialize();
  const auto file = ParseGguf(bytes, "sample.gguf");
  ASSERT_TRUE(file.ok());
  const auto message = [](const auto& result) {
    return result.ok() ? "no error" : result.error().message;
  };
  EXPECT_EQ(*file->FindInt("absent", 0, 1), std::nullopt);
  EXPECT_EQ(*file->FindString("absent"), std::nullopt);
  EXPECT_EQ(*file->FindStrings("absent"), nullptr);
  EXPECT_THAT(message(file->RequireInt("absent", 0, 1)), HasSubstr("'absent' is missing"));
  EXPECT_THAT(message(file->FindInt("llama.block_count", 3, 9)),
              testing::MatchesRegex(".*sample.gguf: metadata value 'llama.block_count' at byte "
                                    "offset [0-9]+ is 2, but must be 3 to 9."));
  EXPECT_THAT(message(file->FindInt("epsilon", 0, 9)), HasSubstr("not an integer"));
  EXPECT_THAT(message(file->FindFloat("yes")), HasSubstr("not a number"));
  EXPECT_THAT(message(file->FindBool("big")), HasSubstr("not a truth value"));
  EXPECT_THAT(message(file->FindString("big")), HasSubstr("not a string"));
  EXPECT_THAT(message(file->FindInts("words")), HasSubstr("not an array of integers"));
  EXPECT_THAT(message(file->FindStrings("big")), HasSubstr("not an array of strings"));
}

TEST(Gguf, FindFloatRefusesNotANumber) {
  GgufWriter writer;
  writer.AddF32("nan", std::numeric_limits<float>::quiet_NaN());
  const std::vector<std::byte> bytes = writer.Serialize();
  const auto file = ParseGguf(bytes, "x");
  ASSERT_TRUE(file.ok());
  EXPECT_FALSE(file->FindFloat("nan").ok());
}

TEST(Gguf, ReadsEveryKindOfMetadata) {
  RawGguf raw;
  raw.Head(0, 8);
  raw.Key("u8", 0).Add<uint8_t>(200);
  raw.Key("i8", 1).Add<int8_t>(-100);
  raw.Key("u16", 2).Add<uint16_t>(60000);
  raw.Key("i16", 3).Add<int16_t>(-30000);
  raw.Key("i64", 11).Add<int64_t>(-(int64_t{1} << 50));
  raw.Key("f64", 12).Add<double>(0.1);
  raw.Key("bools", 9).Add<uint32_t>(7).Add<uint64_t>(2).Add<uint8_t>(1).Add<uint8_t>(0);
  raw.Key("f64s", 9).Add<uint32_t>(12).Add<uint64_t>(1).Add<double>(0.1);
  const auto file = ParseGguf(raw.bytes(), "x");
  ASSERT_TRUE(file.ok()) << file.error().message;
  constexpr int64_t kBig = int64_t{1} << 60;
  EXPECT_EQ(*file->RequireInt("u8", -kBig, kBig), 200);
  EXPECT_EQ(*file->RequireInt("i8", -kBig, kBig), -100);
  EXPECT_EQ(*file->RequireInt("u16", -kBig, kBig), 60000);
  EXPECT_EQ(*file->RequireInt("i16", -kBig, kBig), -30000);
  EXPECT_EQ(*file->RequireInt("i64", -kBig, kBig), -(int64_t{1} << 50));
  EXPECT_EQ(*file->RequireFloat("f64"), 0.1);
  EXPECT_EQ(std::get<std::vector<bool>>(std::get<GgufArray>(*file->Find("bools"))),
            (std::vector<bool>{true, false}));
  EXPECT_THAT(**file->FindFloats("f64s"), ElementsAre(0.1));
}

TEST(Gguf, HonoursTheAlignmentOfTheFile) {
  const SampleData data;
  GgufWriter writer;
  writer.AddU32("general.alignment", 256);
  writer.AddTensor("a", DType::kF32, std::vector<int64_t>{6},
                   std::as_bytes(std::span(data.floats)));
  writer.AddTensor("b", DType::kF32, std::vector<int64_t>{1},
                   std::as_bytes(std::span(data.scalar)));
  const std::vector<std::byte> bytes = writer.Serialize();
  const auto file = ParseGguf(bytes, "x");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->alignment(), 256u);
  EXPECT_EQ((file->FindTensor("a")->data.data() - bytes.data()) % 256, 0);
  EXPECT_EQ(file->FindTensor("b")->data.data() - file->FindTensor("a")->data.data(), 256);
}

TEST(MappedGguf, OpenErrorsSayWhatIsWrong) {
  const auto message = [](const std::string& path) {
    const auto mapped = MappedGguf::Open(path);
    return mapped.ok() ? "no error" : mapped.error().message;
  };
  const std::string folder = testing::TempDir() + "millrace_open_errors";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  EXPECT_THAT(message(folder), HasSubstr("is a directory"));
  EXPECT_THAT(message(folder + "/absent"), HasSubstr("does not exist"));
  EXPECT_EQ(MappedGguf::Open(folder + "/absent").error().kind, ErrorKind::kNotFound);
  std::ofstream(folder + "/empty").flush();
  EXPECT_THAT(message(folder + "/empty"), HasSubstr("is empty"));
  ASSERT_EQ(mkfifo((folder + "/pipe").c_str(), 0600), 0);
  EXPECT_THAT(message(folder + "/pipe"), HasSubstr("not a regular file"));
  std::ofstream(folder + "/secret") << "GGUF";
  ASSERT_EQ(chmod((folder + "/secret").c_str(), 0), 0);
  // Root may read everything: then the file is cut off instead.
  EXPECT_THAT(message(folder + "/secret"),
              geteuid() == 0 ? HasSubstr("cut off") : HasSubstr("check its permissions"));
  std::filesystem::remove_all(folder);
}

TEST(MappedGguf, MovesAndKeepsItsViews) {
  const SampleData data;
  const std::string path = testing::TempDir() + "millrace_moved.gguf";
  ASSERT_TRUE(SampleWriter(data).WriteTo(path).ok());
  auto opened = MappedGguf::Open(path);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  const MappedGguf mapped = std::move(opened).value();
  EXPECT_EQ(*mapped.file().RequireString("general.architecture"), "llama");
  EXPECT_EQ(mapped.file().FindTensor("b.weight")->data.back(), std::byte{7});
  EXPECT_EQ(mapped.bytes().size(), std::filesystem::file_size(path));
  std::filesystem::remove(path);
}

TEST(MappedGguf, ParsesTheSharedFixtures) {
  const std::filesystem::path fixtures = SharedDir() + "/fixtures";
  if (!std::filesystem::exists(fixtures)) {
    GTEST_SKIP() << "the shared fixtures are absent";
  }
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(fixtures)) {
    if (entry.path().extension() != ".gguf") continue;
    const auto mapped = MappedGguf::Open(entry.path().string());
    EXPECT_TRUE(mapped.ok()) << mapped.error().message;
    ++files;
  }
  EXPECT_GE(files, 8);
}

}  // namespace
}  // namespace millrace
