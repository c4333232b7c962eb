// Decoding against the shared fixtures: real blocks and the exact floats they mean.
#include "quantization/block_formats.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/test_paths.h"

namespace millrace {
namespace {

std::vector<std::byte> ReadBytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

TEST(BlockFormats, FixturesAreExact) {
  const std::filesystem::path folder = std::filesystem::path(SharedDir()) / "fixtures/quantization";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "shared fixtures are absent";
  for (const char* name : {"F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K",
                           "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"}) {
    SCOPED_TRACE(name);
    const auto type = FindDTypeByName(name);
    ASSERT_TRUE(type.has_value());
    const auto blocks = ReadBytes(folder / (std::string(name) + ".blocks.bin"));
    const auto expected = ReadBytes(folder / (std::string(name) + ".f32"));
    ASSERT_EQ(expected.size(), 8u * 256 * sizeof(float));
    std::vector<float> out(8 * 256);
    DequantizeBlocks(type->type, blocks, out);
    EXPECT_EQ(std::memcmp(out.data(), expected.data(), expected.size()), 0);
  }
}

}  // namespace
}  // namespace millrace
