// For tests: small vocabularies, written with the GGUF writer.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gguf/gguf.h"
#include "gguf/writer.h"
#include "tokenizer/byte_pair_encoder.h"
#include "tokenizer/tokenizer.h"

namespace millrace {

// What stands under tokenizer.ggml.*; change it, then Bytes() or Load().
struct TestVocabulary {
  std::string model = "gpt2";
  std::string pre = "gpt-2";
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<float> scores;
  std::vector<std::string> merges;
  GgufWriter extra;  // further keys

  void Add(std::string_view text, int32_t type, float score = 0) {
    tokens.emplace_back(text);
    types.push_back(type);
    scores.push_back(score);
  }

  static std::vector<std::string_view> Views(const std::vector<std::string>& strings) {
    return {strings.begin(), strings.end()};
  }

  std::vector<std::byte> Bytes() const {
    GgufWriter writer = extra;
    writer.AddString("tokenizer.ggml.model", model);
    if (!pre.empty()) writer.AddString("tokenizer.ggml.pre", pre);
    writer.AddStrings("tokenizer.ggml.tokens", Views(tokens));
    if (!types.empty()) writer.AddI32s("tokenizer.ggml.token_type", types);
    writer.AddF32s("tokenizer.ggml.scores", scores);
    if (model == "gpt2") writer.AddStrings("tokenizer.ggml.merges", Views(merges));
    return writer.Serialize();
  }

  Result<Tokenizer> Load() const {
    const std::vector<std::byte> bytes = Bytes();
    ASSIGN_OR_RETURN(const GgufFile file, ParseGguf(bytes, "test.gguf"));
    return Tokenizer::FromGguf(file);
  }
};

inline Tokenizer LoadOrDie(const TestVocabulary& vocabulary) {
  auto tokenizer = vocabulary.Load();
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return std::move(tokenizer).value();
}

// Ids 0 to 255 are the bytes; then h+e, l+l, he+ll, hell+o, Ġ+hello, a+a, aa+aa as merged, then
// special tokens.
inline TestVocabulary BytePairVocabulary() {
  TestVocabulary v;
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    tokenizer_internal::AppendByteCharacter(static_cast<unsigned char>(byte), text);
    v.Add(text, 1);
  }
  for (const auto& [left, right] :
       std::vector<std::pair<std::string, std::string>>{{"h", "e"},
                                                        {"l", "l"},
                                                        {"he", "ll"},
                                                        {"hell", "o"},
                                                        {"\xc4\xa0", "hello"},
                                                        {"a", "a"},
                                                        {"aa", "aa"}}) {
    v.Add(left + right, 1);
    v.merges.push_back(left + " " + right);
  }
  v.Add("<|im_start|>", 3);   // 263
  v.Add("<|im_end|>", 3);     // 264
  v.Add("<tool>", 4);         // 265
  v.Add("<tool><tool>", 4);   // 266
  v.Add("<|endoftext|>", 3);  // 267
  v.extra.AddU32("tokenizer.ggml.eos_token_id", 264);
  v.extra.AddU32("tokenizer.ggml.bos_token_id", 263);
  return v;
}

// <unk> <s> </s>, 256 byte tokens (3 to 258), then words.
inline TestVocabulary SentencePieceVocabulary() {
  TestVocabulary v;
  v.model = "llama";
  v.pre = "default";
  v.Add("<unk>", 2);
  v.Add("<s>", 3);
  v.Add("</s>", 3);
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  for (size_t byte = 0; byte < 256; ++byte) {
    v.Add(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">", 6);
  }
  const std::string mark = "\xe2\x96\x81";
  float score = -1;
  for (const std::string& text :
       {mark + "a", std::string("ab"), mark + "ab", mark, std::string("a"), std::string("b"),
        mark + mark, std::string("abab")}) {
    v.Add(text, 1,
          score--);  // 259: ▁a, 260: ab, 261: ▁ab, 262: ▁, 263: a, 264: b, 265: ▁▁, 266: abab
  }
  return v;
}

}  // namespace millrace
