// A file worked out by hand, and damage to it.
#include "safetensors/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/rng.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

std::vector<std::byte> MakeFile(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::vector<std::byte> bytes(8 + header.size() + data_bytes);
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  for (size_t i = 0; i < data_bytes; ++i) bytes[8 + header.size() + i] = static_cast<std::byte>(i);
  return bytes;
}

constexpr const char* kHeader =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})";

TEST(Safetensors, ViewsOfTheData) {
  const auto bytes = MakeFile(kHeader, 32);
  const auto file = ParseSafetensors(bytes, "m.safetensors");
  ASSERT_TRUE(file.ok()) << file.error().message;
  ASSERT_EQ(file->size(), 2u);
  const SafetensorsTensor& b = file->find("b")->second;
  EXPECT_EQ(b.type, DType::kBF16);
  EXPECT_EQ(b.shape, (std::vector<int64_t>{4}));
  EXPECT_EQ(b.data.data(), bytes.data() + bytes.size() - 8);
}

TEST(Safetensors, DamageIsNamed) {
  auto message = [](const std::string& header, size_t data) {
    const auto file = ParseSafetensors(MakeFile(header, data), "m");
    return file.ok() ? std::string() : file.error().message;
  };
  EXPECT_THAT(message(kHeader, 31), HasSubstr("tensor 'b'"));
  EXPECT_THAT(message(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1),
              HasSubstr("not supported"));
  EXPECT_THAT(message(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4),
              HasSubstr("impossible"));
  EXPECT_THAT(message(R"({"a":{"dtype":"F32","shape":[1099511627776,1099511627776],)"
                      R"("data_offsets":[0,4]}})",
                      4),
              HasSubstr("impossible"));
  EXPECT_THAT(message("[]", 0), HasSubstr("no JSON object"));
  EXPECT_THAT(ParseSafetensors({}, "m").error().message, HasSubstr("too short"));
}

TEST(Safetensors, RandomDamageNeverReachesOutside) {
  const auto good = MakeFile(kHeader, 32);
  CounterRng rng(1, 0);
  for (int i = 0; i < 5000; ++i) {
    auto bytes = good;
    for (int k = 0; k < 3; ++k) bytes[rng.NextU64() % bytes.size()] = std::byte(rng.NextU64());
    bytes.resize(rng.NextU64() % 4 == 0 ? rng.NextU64() % bytes.size() : bytes.size());
    const auto file = ParseSafetensors(bytes, "m");
    if (!file.ok()) continue;
    for (const auto& [name, t] : *file) {
      ASSERT_GE(t.data.data(), bytes.data());
      ASSERT_LE(t.data.data() + t.data.size(), bytes.data() + bytes.size());
    }
  }
}

}  // namespace
}  // namespace millrace
