// Published advisories about readers of GGUF files, each as a file that made another reader write
// or read outside its memory. docs/SECURITY.md lists them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "gguf/gguf.h"
#include "gguf/gguf_test_file.h"

namespace millrace {
namespace {

using testing::HasSubstr;

constexpr uint64_t kAll = ~uint64_t{0};
constexpr uint32_t kKindU8 = 0, kKindU32 = 4, kKindString = 8, kKindArray = 9, kKindF64 = 12;
constexpr uint32_t kTypeF32 = 0, kTypeQ8 = 8;

// The sentence that refuses `raw`; the bytes stand in memory of exactly their size, so that
// sanitizers see a step outside.
std::string RefusalOf(const RawGguf& raw) {
  const std::vector<std::byte> exact(raw.bytes().begin(), raw.bytes().end());
  const auto file = ParseGguf(exact, "hostile.gguf");
  if (file.ok()) return "";
  EXPECT_THAT(file.error().message, HasSubstr("hostile.gguf"));
  EXPECT_EQ(file.error().message.back(), '.');
  return file.error().message;
}

// CVE-2024-23496 (llama.cpp, TALOS-2024-1913): a string of 2^64 - 1 bytes, for which length + 1
// bytes were allocated.
TEST(GgufAdvisories, Cve202423496LengthOfAStringWraps) {
  for (const uint64_t length : {kAll, kAll - 1, kAll >> 1, (kAll >> 1) + 1, kAll - 7}) {
    EXPECT_NE(RefusalOf(RawGguf().Head(0, 1).Add(length).Zeros(64)), "") << "key of " << length;
    EXPECT_THAT(RefusalOf(RawGguf().Head(0, 1).Key("k", kKindString).Add(length).Zeros(64)),
                HasSubstr("metadata value 'k'"))
        << length;
    EXPECT_NE(RefusalOf(RawGguf()
                            .Head(0, 1)
                            .Key("k", kKindArray)
                            .Add(kKindString)
                            .Add<uint64_t>(2)
                            .Text("a")
                            .Add(length)
                            .Zeros(64)),
              "")
        << "element of " << length;
    EXPECT_NE(RefusalOf(RawGguf().Head(1, 0).Add(length).Zeros(64)), "") << "name of " << length;
  }
}

// CVE-2024-21825 (TALOS-2024-1912): count times size of the elements wraps to a small number.
TEST(GgufAdvisories, Cve202421825CountOfAnArrayTimesItsSizeWraps) {
  const auto array = [](uint32_t kind, uint64_t count) {
    return RefusalOf(RawGguf().Head(0, 1).Key("k", kKindArray).Add(kind).Add(count).Zeros(256));
  };
  for (const uint64_t bytes : {uint64_t{1}, uint64_t{2}, uint64_t{4}, uint64_t{8}, uint64_t{16}}) {
    for (const uint64_t over : {uint64_t{0}, uint64_t{1}, uint64_t{3}}) {
      const uint64_t count =
          kAll / bytes + over;  // times `bytes`: almost 2^64, or a little past it
      if (count < 1000) continue;
      for (const uint32_t kind : {kKindU8, kKindU32, kKindF64, kKindString}) {
        EXPECT_THAT(array(kind, count), HasSubstr("the element count of metadata value 'k'"))
            << kind << " " << count;
      }
    }
  }
}

// CVE-2024-21836 (TALOS-2024-1915) and CVE-2024-23605 (TALOS-2024-1916): the same with the numbers
// of tensors and of metadata entries, each a record of fixed size.
TEST(GgufAdvisories, Cve202421836AndCve202423605CountsOfTheHeaderWrap) {
  for (const uint64_t record : {uint64_t{1}, uint64_t{24}, uint64_t{48}, uint64_t{56}, uint64_t{88},
                                uint64_t{128}, uint64_t{256}}) {
    for (const uint64_t over : {uint64_t{0}, uint64_t{1}, uint64_t{2}}) {
      const uint64_t count = kAll / record + (record == 1 ? 0 - over : over);
      EXPECT_THAT(RefusalOf(RawGguf().Head(count, 0).Zeros(4096)), HasSubstr("tensor count"));
      EXPECT_THAT(RefusalOf(RawGguf().Head(0, count).Zeros(4096)), HasSubstr("metadata count"));
    }
  }
}

// CVE-2024-21802 (TALOS-2024-1914): more dimensions than the record has room for.
TEST(GgufAdvisories, Cve202421802MoreDimensionsThanFour) {
  for (const uint32_t dimensions : {5u, 8u, 255u, 1u << 30, ~0u}) {
    RawGguf raw;
    raw.Head(1, 0).Text("t").Add(dimensions);
    for (int i = 0; i < 300; ++i) raw.Add<uint64_t>(1);
    EXPECT_THAT(RefusalOf(raw), HasSubstr("the dimension count of tensor 't'")) << dimensions;
  }
}

// CVE-2026-33298: the elements can be counted, their bytes cannot.
TEST(GgufAdvisories, Cve202633298BytesOfATensorWrap) {
  for (const auto& shape :
       std::vector<std::vector<uint64_t>>{{kAll / 4},
                                          {kAll / 4 + 1},
                                          {uint64_t{1} << 62},
                                          {uint64_t{1} << 31, uint64_t{1} << 31},
                                          {kAll / 2},
                                          {32, kAll / 64}}) {
    for (const uint32_t type : {kTypeF32, kTypeQ8}) {
      EXPECT_NE(RefusalOf(RawGguf().Head(1, 0).Tensor("t", shape, type, 0).Zeros(256)), "");
    }
  }
}

// CVE-2025-53630 and CVE-2026-27940, which went round its mending: each tensor's size is a number
// that can be, padded or added up it wraps, so that too little memory was allocated for all.
TEST(GgufAdvisories, Cve202553630AndCve202627940SumOfTheTensorsWraps) {
  const uint64_t quarter = uint64_t{1} << 60;  // elements of four bytes: 2^62
  RawGguf sum;
  sum.Head(5, 0);
  for (uint64_t i = 0; i < 4; ++i) {
    sum.Tensor(std::string(1, static_cast<char>('a' + i)), {quarter}, kTypeF32, i << 62);
  }
  EXPECT_THAT(RefusalOf(sum.Tensor("e", {8}, kTypeF32, 0).Zeros(4096)), HasSubstr("cut off"));
  // 2^63 - 4 bytes are padded to 2^63: negative as an int64.
  EXPECT_NE(RefusalOf(RawGguf()
                          .Head(2, 0)
                          .Tensor("a", {(uint64_t{1} << 61) - 1}, kTypeF32, 0)
                          .Tensor("b", {8}, kTypeF32, uint64_t{1} << 63)
                          .Zeros(4096)),
            "");
}

// CVE-2026-7482 (Ollama), CVE-2024-39720 and CVE-2024-12055: a tensor that the file does not hold,
// wholly or in its last bytes, was read from what lay behind the file in memory.
TEST(GgufAdvisories, Cve20267482TensorsOutsideTheFile) {
  const auto at = [](uint64_t rows, uint64_t offset, size_t bytes) {
    return RefusalOf(
        RawGguf().Head(1, 0).Tensor("t", {32, rows}, kTypeQ8, offset).Zeros(bytes + 32));
  };
  // Of a tensor t, the record ends at byte 73, the data begin at 96: of `bytes` + 32, 9 + `bytes`.
  EXPECT_EQ(at(2, 0, 68), "");
  EXPECT_THAT(at(2, 0, 50), HasSubstr("has 68 bytes of data"));
  EXPECT_THAT(at(200'000, 0, 68), HasSubstr("cut off"));
  EXPECT_THAT(at(2, 4096, 68), HasSubstr("cut off"));
  for (const uint64_t offset :
       {kAll - 31, kAll - 63, uint64_t{1} << 63, (uint64_t{1} << 63) - 32}) {
    EXPECT_THAT(at(2, offset, 68), HasSubstr("cut off")) << offset;
  }
}

// CVE-2025-0317 (Ollama): an alignment of zero, by which was divided. (CVE-2024-8063, the same with
// the number of layers: model_advisories_test.)
TEST(GgufAdvisories, Cve20250317AlignmentOfZero) {
  for (const uint32_t alignment : {0u, 3u, 48u, ~0u, (1u << 31) + 1}) {
    EXPECT_NE(RefusalOf(RawGguf()
                            .Head(1, 1)
                            .Key("general.alignment", kKindU32)
                            .Add(alignment)
                            .Tensor("t", {1}, kTypeF32, 0)
                            .Zeros(256)),
              "")
        << alignment;
  }
}

// CVE-2025-0315 (Ollama): numbers of entries that ask for memory which the file does not back.
TEST(GgufAdvisories, Cve20250315CountsAreBoundedByTheFilesOwnBytes) {
  for (const uint64_t count : {uint64_t{1} << 24, uint64_t{1} << 20, uint64_t{4096}}) {
    EXPECT_THAT(
        RefusalOf(
            RawGguf().Head(0, 1).Key("k", kKindArray).Add(kKindString).Add(count).Zeros(1024)),
        HasSubstr("but the 1024 bytes left"));
  }
  EXPECT_NE(RefusalOf(RawGguf().Head(1 << 16, 0).Zeros(1024)), "");
  EXPECT_NE(RefusalOf(RawGguf().Head(0, 1 << 16).Zeros(1024)), "");
}

}  // namespace
}  // namespace millrace
