// Damaged and hostile files: each gives one sentence or parses; none crashes, hangs or asks for
// much memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <string>

#include "base/rng.h"
#include "gguf/gguf.h"
#include "gguf/gguf_test_file.h"

namespace millrace {
namespace {

using testing::HasSubstr;

struct Damage {
  std::string_view what;
  RawGguf file;
  std::string_view message;  // a part of the error
  ErrorKind kind = ErrorKind::kInvalidArgument;
};

void PrintTo(const Damage& damage, std::ostream* out) { *out << damage.what; }

std::vector<Damage> DamagedHeads() {
  return {
      {"empty", RawGguf(), "empty"},
      {"no magic", RawGguf().Raw("hello, world"), "not a GGUF file"},
      {"LFS pointer", RawGguf().Raw("version https://git-lfs.github.com/spec/v1"), "git lfs pull"},
      {"zip", RawGguf().Raw("PK\x03\x04rest"), "zip archive"},
      {"GGML", RawGguf().Raw("tjgg...."), "before GGUF"},
      {"magic only", RawGguf().Raw("GGUF"), "the version at byte offset 4 needs 4 bytes"},
      {"version 1", RawGguf().Head(0, 0, 1),
       "the version at byte offset 4 is 1, which is out of use", ErrorKind::kUnsupported},
      {"version 4", RawGguf().Head(0, 0, 4), "is 4, but Millrace reads 2 and 3",
       ErrorKind::kUnsupported},
      {"version 0", RawGguf().Head(0, 0, 0), "is 0, but Millrace reads 2 and 3",
       ErrorKind::kUnsupported},
      {"big-endian", RawGguf().Head(0, 0, 0x03000000), "big-endian", ErrorKind::kUnsupported},
      {"cut before counts", RawGguf().Raw("GGUF").Add<uint32_t>(3),
       "the tensor count at byte offset 8"},
      {"2^60 tensors", RawGguf().Head(uint64_t{1} << 60, 0).Zeros(200), "the tensor count"},
      {"2^60 entries", RawGguf().Head(0, uint64_t{1} << 60).Zeros(200),
       "the metadata count at byte offset 16 is 1152921504606846976, but the 200 bytes left"},
      {"too many tensors", RawGguf().Head((1 << 17) + 1, 0).Zeros(40 << 17),
       "reads at most 131072"},
  };
}

std::vector<Damage> DamagedMetadata() {
  constexpr uint64_t kHuge = ~uint64_t{0};
  return {
      {"empty key", RawGguf().Head(0, 1).Text("").Zeros(30), "the key of metadata entry 0"},
      {"huge key", RawGguf().Head(0, 1).Add<uint64_t>(kHuge).Zeros(30),
       "the key of metadata entry 0"},
      {"long key", RawGguf().Head(0, 1).Text(std::string(65536, 'k')).Zeros(8),
       "must have 1 to 65535"},
      {"unknown kind", RawGguf().Head(0, 1).Key("k", 13).Zeros(8), "unknown kind 13"},
      {"duplicate key",
       RawGguf().Head(0, 2).Key("k", 0).Add<uint8_t>(1).Key("k", 0).Add<uint8_t>(1),
       "metadata key 'k' at byte offset 38 stands in the file twice"},
      {"bad bool", RawGguf().Head(0, 1).Key("k", 7).Add<uint8_t>(2), "is 2 where only 0"},
      {"huge u64", RawGguf().Head(0, 1).Key("k", 10).Add<uint64_t>(kHuge), "over 2^63 - 1"},
      {"huge string", RawGguf().Head(0, 1).Key("k", 8).Add<uint64_t>(kHuge), "cut off"},
      {"array of arrays",
       RawGguf().Head(0, 1).Key("k", 9).Add<uint32_t>(9).Add<uint64_t>(1).Zeros(12),
       "array of arrays"},
      {"array of unknown",
       RawGguf().Head(0, 1).Key("k", 9).Add<uint32_t>(99).Add<uint64_t>(1).Zeros(8),
       "unknown kind 99"},
      {"huge array",
       RawGguf().Head(0, 1).Key("k", 9).Add<uint32_t>(0).Add<uint64_t>(kHuge).Zeros(8),
       "the element count of metadata value 'k' at byte offset 41"},
      {"long array",
       RawGguf()
           .Head(0, 1)
           .Key("k", 9)
           .Add<uint32_t>(0)
           .Add<uint64_t>((1 << 24) + 1)
           .Zeros(1 << 25),
       "reads at most 16777216"},
      {"cut string array",
       RawGguf().Head(0, 1).Key("k", 9).Add<uint32_t>(8).Add<uint64_t>(2).Text("abcdefghij"),
       "cut off"},
      {"name unfit to print", RawGguf().Head(0, 1).Key("k\n\x1b", 13).Zeros(8), "'k\\x0a\\x1b'"},
      {"alignment 48", RawGguf().Head(0, 1).Key("general.alignment", 4).Add<uint32_t>(48),
       "no power of two"},
      {"alignment 0", RawGguf().Head(0, 1).Key("general.alignment", 4).Add<uint32_t>(0),
       "must be 1 to"},
      {"alignment text", RawGguf().Head(0, 1).Key("general.alignment", 8).Text("x"),
       "not an integer"},
      {"split", RawGguf().Head(0, 1).Key("split.count", 2).Add<uint16_t>(3),
       "one of 3 files of a split model", ErrorKind::kUnsupported},
  };
}

std::vector<Damage> DamagedTensors() {
  constexpr uint64_t kHalf = uint64_t{1} << 32;
  constexpr uint32_t kF32 = 0, kQ4K = 12;
  const auto one = [] { return RawGguf().Head(1, 0); };
  return {
      {"no name", one().Tensor("", {1}, kF32, 0).Zeros(64), "the name of tensor 0"},
      {"no dimension", one().Tensor("t", {}, kF32, 0).Zeros(64), "is 0, but must be 1 to 4"},
      {"five dimensions", one().Tensor("t", {1, 1, 1, 1, 1}, kF32, 0).Zeros(64),
       "is 5, but must be"},
      {"empty dimension", one().Tensor("t", {4, 0}, kF32, 0).Zeros(64), "which is empty"},
      {"product overflows", one().Tensor("t", {kHalf, kHalf}, kF32, 0).Zeros(64),
       "more than memory"},
      {"negative dimension", one().Tensor("t", {~uint64_t{0}}, kF32, 0).Zeros(64),
       "more than memory"},
      {"bytes overflow", one().Tensor("t", {kHalf, kHalf / 4}, kF32, 0).Zeros(64),
       "more bytes than"},
      {"unknown type", one().Tensor("t", {32}, 200, 0).Zeros(64),
       "the type of tensor 't' at byte offset 45 is number 200", ErrorKind::kUnsupported},
      {"known but unsupported type", one().Tensor("t", {256}, 16, 0).Zeros(999), "16 (IQ2_XXS)",
       ErrorKind::kUnsupported},
      {"ragged block", one().Tensor("t", {100}, kQ4K, 0).Zeros(999), "blocks have 256 elements"},
      {"unaligned offset", one().Tensor("t", {1}, kF32, 4).Zeros(64),
       "no multiple of the alignment"},
      {"offset past the end", one().Tensor("t", {1}, kF32, 1 << 20).Zeros(64), "it is cut off"},
      {"offset overflows", one().Tensor("t", {1}, kF32, ~uint64_t{0} - 31).Zeros(64),
       "it is cut off"},
      {"data cut off", one().Tensor("t", {64}, kF32, 0).Zeros(64), "has 256 bytes of data"},
      {"no data section", one().Tensor("t", {1}, kF32, 0), "it is cut off"},
      {"duplicate name",
       RawGguf().Head(2, 0).Tensor("t", {1}, kF32, 0).Tensor("t", {1}, kF32, 32).Zeros(99),
       "tensor 't' at byte offset 57 stands in the file twice"},
      {"overlap",
       RawGguf().Head(2, 0).Tensor("t", {16}, kF32, 0).Tensor("u", {1}, kF32, 32).Zeros(200),
       "overlap those of tensor 't'"},
  };
}

class GgufDamage : public testing::TestWithParam<Damage> {};

TEST_P(GgufDamage, GivesOneSentence) {
  const auto file = ParseGguf(GetParam().file.bytes(), "bad.gguf");
  ASSERT_FALSE(file.ok());
  const std::string& message = file.error().message;
  EXPECT_THAT(message, HasSubstr(std::string(GetParam().message)));
  EXPECT_THAT(message, HasSubstr("bad.gguf"));
  EXPECT_EQ(message.back(), '.');
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_EQ(file.error().kind, GetParam().kind);
}

INSTANTIATE_TEST_SUITE_P(Head, GgufDamage, testing::ValuesIn(DamagedHeads()));
INSTANTIATE_TEST_SUITE_P(Metadata, GgufDamage, testing::ValuesIn(DamagedMetadata()));
INSTANTIATE_TEST_SUITE_P(Tensors, GgufDamage, testing::ValuesIn(DamagedTensors()));

TEST(GgufDamageControl, TheUndamagedTwinOfTheTableParses) {
  RawGguf raw;
  raw.Head(2, 2);
  raw.Key("k", 7).Add<uint8_t>(1).Key("split.count", 2).Add<uint16_t>(1);
  raw.Tensor("t", {8}, 0, 0).Tensor("u", {1}, 0, 32).Zeros(200);
  const auto file = ParseGguf(raw.bytes(), "x");
  EXPECT_TRUE(file.ok()) << file.error().message;
}

// Reads everything a parsed file hands out, so that a view outside the bytes is found by the
// sanitizers.
uint64_t Touch(const GgufFile& file) {
  uint64_t sum = 0;
  for (const GgufTensor& tensor : file.tensors()) {
    sum += static_cast<uint64_t>(tensor.elements());
    for (std::byte b : tensor.data) sum += static_cast<uint64_t>(b);
  }
  for (const auto& [key, value] : file.metadata()) {
    for (char c : key) sum += static_cast<unsigned char>(c);
    if (const auto* text = std::get_if<std::string_view>(&value)) {
      for (char c : *text) sum += static_cast<unsigned char>(c);
    }
    sum += file.RawValue(key).size();
  }
  if (const auto words = file.FindStrings("words"); words.ok() && *words != nullptr) {
    for (std::string_view word : **words) {
      for (char c : word) sum += static_cast<unsigned char>(c);
    }
  }
  return sum;
}

// One damage, chosen by `rng`: a cut, flipped bits, an absurd number, or bytes put in or taken out.
std::vector<std::byte> DamageBytes(std::vector<std::byte> bytes, CounterRng& rng) {
  const auto below = [&](size_t n) { return static_cast<size_t>(rng.NextU64() % n); };
  switch (below(5)) {
    case 0:
      bytes.resize(below(bytes.size()));
      break;
    case 1:
      for (size_t flips = 1 + below(4); flips > 0; --flips) {
        bytes[below(bytes.size())] ^= static_cast<std::byte>(1u << below(8));
      }
      break;
    case 2: {
      const uint64_t absurd[] = {0,
                                 1,
                                 0x7fffffff,
                                 0xffffffff,
                                 uint64_t{1} << 60,
                                 ~uint64_t{0},
                                 ~uint64_t{0} >> 1,
                                 bytes.size(),
                                 rng.NextU64()};
      const uint64_t value = absurd[below(std::size(absurd))];
      std::memcpy(bytes.data() + below(bytes.size() - 8), &value, below(2) == 0 ? 4 : 8);
      break;
    }
    case 3:
      bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(below(bytes.size())), 1 + below(16),
                   static_cast<std::byte>(below(256)));
      break;
    default: {
      const size_t first = below(bytes.size() - 16);
      bytes.erase(bytes.begin() + static_cast<ptrdiff_t>(first),
                  bytes.begin() + static_cast<ptrdiff_t>(first + 1 + below(16)));
    }
  }
  return bytes;
}

TEST(GgufDamageCorpus, TwoThousandVariantsParseOrFailWithinASecond) {
  const SampleData data;
  const std::vector<std::byte> good = SampleWriter(data).Serialize();
  int refused = 0;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    CounterRng rng(20241124, i);
    // A fresh copy of exactly the right size, so that the sanitizers see a read past the end.
    const std::vector<std::byte> bad = DamageBytes(good, rng);
    const std::vector<std::byte> exact(bad.begin(), bad.end());
    const std::clock_t begin = std::clock();
    const auto file = ParseGguf(exact, "variant.gguf");
    if (file.ok()) {
      sum += Touch(*file);
    } else {
      ++refused;
      EXPECT_THAT(file.error().message, HasSubstr("variant.gguf"));
      EXPECT_EQ(file.error().message.back(), '.');
    }
    EXPECT_LT(std::clock() - begin, CLOCKS_PER_SEC) << "variant " << i;
  }
  // Some damage hits values or tensor data, where the format has no redundancy: those still parse.
  EXPECT_GT(refused, 1000);
  EXPECT_LT(refused, 2000);
  EXPECT_GT(sum, 0u);
}

}  // namespace
}  // namespace millrace
