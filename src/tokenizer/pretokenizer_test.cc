// The hand-written pre-tokenisers against the patterns they follow, in a regular-expression engine.
#include "tokenizer/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pcre2.h>

#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "tokenizer/utf8.h"

namespace millrace::tokenizer_internal {
namespace {

using testing::ElementsAre;

constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3Pattern =
    R"((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2Pattern =
    R"((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Cuts each piece at the pattern's matches; what lies between matches is a piece too.
class Pattern {
 public:
  explicit Pattern(const char* pattern) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED,
                              PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
    EXPECT_NE(code_, nullptr) << pattern << " at " << offset;
    match_.reset(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
  }

  std::vector<std::string> Cut(const std::vector<std::string>& pieces) const {
    std::vector<std::string> out;
    for (const std::string& piece : pieces) {
      size_t pos = 0;
      while (pos < piece.size()) {
        const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(piece.data()),
                                      piece.size(), pos, 0, match_.get(), nullptr);
        if (found < 0) break;
        const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match_.get());
        if (range[0] > pos) out.push_back(piece.substr(pos, range[0] - pos));
        out.push_back(piece.substr(range[0], range[1] - range[0]));
        pos = range[1];
      }
      if (pos < piece.size()) out.push_back(piece.substr(pos));
    }
    return out;
  }

 private:
  struct Free {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
    void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  };
  std::unique_ptr<pcre2_code, Free> code_;
  std::unique_ptr<pcre2_match_data, Free> match_;
};

std::vector<std::string> Split(PretokenizerKind kind, std::string_view text) {
  std::vector<std::string> words;
  WordSplitter splitter(kind, text);
  for (std::string_view word = splitter.Next(); !word.empty(); word = splitter.Next()) {
    words.emplace_back(word);
  }
  return words;
}

struct Case {
  const char* name;
  PretokenizerKind kind;
  std::vector<const char*> passes;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class AgainstPatterns : public testing::TestWithParam<Case> {};

// Letters, numbers, marks, punctuation, symbols, spaces and newlines, in ASCII and beyond, and what
// contractions need. Not U+180E, which the engine takes for a space as Unicode did before
// version 6.3.
constexpr char32_t kAlphabet[] = {
    'a',    'b',    's',    't',    'r',    'e',    'v',      'm',     'l',     'd',
    'S',    'L',    'R',    'E',    'Z',    '\'',   '\'',     '\'',    ' ',     ' ',
    ' ',    ' ',    '\n',   '\n',   '\r',   '\t',   '\v',     '\f',    '0',     '1',
    '2',    '9',    '.',    ',',    '$',    '+',    '<',      '`',     '|',     '_',
    '-',    '(',    '"',    0x00,   0x1c,   0x7f,   0x85,     0xa0,    0xb2,    0xb5,
    0xbd,   0xd7,   0xe9,   0x130,  0x17f,  0x301,  0x3b1,    0x5d0,   0x660,   0x669,
    0x94d,  0x915,  0xe01,  0xe31,  0x1680, 0x2003, 0x200b,   0x200d,  0x2019,  0x2028,
    0x2029, 0x202f, 0x205f, 0x2163, 0x20ac, 0x2581, 0x3000,   0x3002,  0x3007,  0x4e2d,
    0xac00, 0xfb01, 0xfe0f, 0xfeff, 0xff11, 0xfffd, 0x10ffff, 0x1f600, 0x1d7d8, 0x20000};

TEST_P(AgainstPatterns, CutsRandomStringsAlike) {
  std::vector<Pattern> passes;
  for (const char* pattern : GetParam().passes) passes.emplace_back(pattern);
  for (uint64_t i = 0; i < 20000; ++i) {
    CounterRng rng(42, i);
    std::string text;
    for (uint64_t n = rng.NextU64() % 24; n > 0; --n) {
      AppendUtf8(kAlphabet[rng.NextU64() % std::size(kAlphabet)], text);
    }
    std::vector<std::string> expected = {text};
    for (const Pattern& pass : passes) expected = pass.Cut(expected);
    if (text.empty()) expected.clear();
    ASSERT_EQ(Split(GetParam().kind, text), expected) << "string " << i << ": " << text;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, AgainstPatterns,
    testing::Values(
        Case{"gpt2", PretokenizerKind::kGpt2, {kGpt2Pattern}},
        Case{"llama3", PretokenizerKind::kLlama3, {kLlama3Pattern}},
        Case{"qwen2", PretokenizerKind::kQwen2, {kQwen2Pattern}},
        Case{"digits first", PretokenizerKind::kDigitsFirst, {R"(\p{N})", kGpt2Pattern}},
        Case{"default",
             PretokenizerKind::kDefault,
             {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"}}));

TEST(WordSplitter, CutsAsWritten) {
  EXPECT_THAT(Split(PretokenizerKind::kGpt2, "I'll  go, 1234 'S\n"),
              ElementsAre("I", "'ll", " ", " go", ",", " 1234", " '", "S", "\n"));
  EXPECT_THAT(Split(PretokenizerKind::kLlama3, "I'LL  go, 1234!\n\n x"),
              ElementsAre("I", "'LL", " ", " go", ",", " ", "123", "4", "!\n\n", " x"));
  EXPECT_THAT(Split(PretokenizerKind::kQwen2, "a \n \n  12"),
              ElementsAre("a", " \n \n", " ", " ", "1", "2"));
}

TEST(WordSplitter, BytesThatAreNoCharacterAreNeitherLettersNorSpaces) {
  for (PretokenizerKind kind :
       {PretokenizerKind::kDefault, PretokenizerKind::kGpt2, PretokenizerKind::kDigitsFirst,
        PretokenizerKind::kLlama3, PretokenizerKind::kQwen2}) {
    EXPECT_THAT(Split(kind, "1\xff\xfe\xe2\x82 a\xc3"),
                ElementsAre("1", "\xff\xfe\xe2\x82", " a", "\xc3"));
  }
}

TEST(FindPretokenizer, KnowsNamesAndRefusesOthers) {
  EXPECT_EQ(FindPretokenizer("smollm")->kind, PretokenizerKind::kDigitsFirst);
  EXPECT_TRUE(FindPretokenizer("llama-v3")->ignore_merges);
  EXPECT_FALSE(FindPretokenizer("qwen2")->ignore_merges);
  EXPECT_EQ(FindPretokenizer("no-such"), std::nullopt);
  EXPECT_THAT(KnownPretokenizers(), testing::HasSubstr("gpt-2, "));
}

}  // namespace
}  // namespace millrace::tokenizer_internal
