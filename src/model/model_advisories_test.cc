// Published advisories about what a model file says of itself: numbers by which is divided, or that
// size memory. docs/SECURITY.md lists them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>

#include "gguf/gguf.h"
#include "gguf/writer.h"
#include "model/transformer_config.h"
#include "tests/tiny_model.h"

namespace millrace {
namespace {

using testing::HasSubstr;

struct Number {
  const char* key;
  int64_t good;
};
constexpr Number kNumbers[] = {
    {"block_count", 2},           {"embedding_length", 64},       {"feed_forward_length", 128},
    {"context_length", 128},      {"attention.head_count", 4},    {"attention.head_count_kv", 2},
    {"attention.key_length", 16}, {"attention.value_length", 16}, {"rope.dimension_count", 16}};

// What is read of a model whose number `changed` is `value`.
Result<TransformerConfig> ConfigWith(const std::string& architecture, const char* changed,
                                     uint64_t value) {
  GgufWriter writer;
  writer.AddString("general.architecture", architecture);
  for (const Number& number : kNumbers) {
    const bool is_changed = changed != nullptr && std::strcmp(number.key, changed) == 0;
    writer.AddU64(architecture + "." + number.key,
                  is_changed ? value : static_cast<uint64_t>(number.good));
  }
  const std::vector<std::byte> embedding(64 * 32 * sizeof(float));
  writer.AddTensor("token_embd.weight", DType::kF32, std::vector<int64_t>{64, 32}, embedding);
  const std::vector<std::byte> bytes = writer.Serialize();
  ASSIGN_OR_RETURN(const GgufFile file, ParseGguf(bytes, "hostile.gguf"));
  return ReadTransformerConfig(file);
}

// CVE-2024-8063 (Ollama): a model of no layers, by which was divided; and its likes.
TEST(ModelAdvisories, Cve20248063NumbersOfZeroOrPastEveryRangeAreRefused) {
  for (const char* architecture : {"llama", "qwen2", "qwen3", "gemma3"}) {
    const auto good = ConfigWith(architecture, nullptr, 0);
    EXPECT_TRUE(good.ok()) << good.error().message;
    for (const Number& number : kNumbers) {
      for (const uint64_t value : {uint64_t{0}, uint64_t{1} << 31, uint64_t{1} << 32,
                                   (uint64_t{1} << 32) + static_cast<uint64_t>(number.good),
                                   ~uint64_t{0} >> 1, ~uint64_t{0}}) {
        const auto config = ConfigWith(architecture, number.key, value);
        ASSERT_FALSE(config.ok()) << architecture << " " << number.key << " " << value;
        EXPECT_THAT(config.error().message, HasSubstr("hostile.gguf"));
        EXPECT_THAT(config.error().message, HasSubstr(number.key));
      }
    }
  }
}

}  // namespace
}  // namespace millrace
