// libFuzzer target: any GGUF gives a tokenizer or an error, and any tokenizer encodes and decodes
// any text. An input that begins with 0xFF or 0xFE lists changes of a small whole vocabulary of
// either kind, and a text behind them; any other is the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "gguf/gguf.h"
#include "gguf/gguf_patches_for_fuzz.h"
#include "gguf/writer.h"
#include "tokenizer/text_stream.h"
#include "tokenizer/tokenizer.h"

namespace {

// 256 bytes, some words, special tokens: byte pairs with merges, or pieces with scores.
std::vector<std::byte> WholeVocabulary(bool byte_pair) {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<float> scores;
  const auto add = [&](std::string text, int32_t type) {
    scores.push_back(-static_cast<float>(tokens.size()));
    tokens.push_back(std::move(text));
    types.push_back(type);
  };
  if (!byte_pair) {
    add("<unk>", 2);
    constexpr char kDigits[] = "0123456789ABCDEF";
    for (size_t b = 0; b < 256; ++b) {
      add(std::string("<0x") + kDigits[b >> 4] + kDigits[b & 15] + ">", 6);
    }
  }
  for (const char* text : {"a", "b", "ab", "aa", "abab", "\xc4\xa0",
                           "\xc4\xa0"
                           "ab",
                           "\xe2\x96\x81",
                           "\xe2\x96\x81"
                           "a",
                           "1", "12", "\xc3\xa4"}) {
    add(text, 1);
  }
  add("<|end|>", 3);
  add("<tool>", 4);
  std::vector<std::string_view> views(tokens.begin(), tokens.end());
  millrace::GgufWriter writer;
  writer.AddString("tokenizer.ggml.model", byte_pair ? "gpt2" : "llama");
  writer.AddString("tokenizer.ggml.pre", byte_pair ? "qwen2" : "default");
  if (byte_pair) {
    const std::vector<std::string_view> merges = {"a b", "a a", "ab ab", "\xc4\xa0 ab", "1 2"};
    writer.AddStrings("tokenizer.ggml.merges", merges);
  }
  writer.AddU32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(tokens.size()) - 2);
  writer.AddU32("tokenizer.ggml.unknown_token_id", 0);
  writer.AddI32s("tokenizer.ggml.token_type", types);
  writer.AddF32s("tokenizer.ggml.scores", scores);
  writer.AddStrings("tokenizer.ggml.tokens", views);
  return writer.Serialize();
}

// `text`: the vocabulary's words are in the file's own bytes.
void EncodeAndDecode(std::span<const std::byte> bytes, std::string_view text) {
  const auto file = millrace::ParseGguf(bytes, "fuzz");
  if (!file.ok()) return;
  const auto tokenizer = millrace::Tokenizer::FromGguf(*file);
  if (!tokenizer.ok()) return;
  for (const auto special : {millrace::SpecialTokens::kAsText, millrace::SpecialTokens::kParse}) {
    const auto ids = tokenizer->Encode(text, special);
    millrace::TextStream stream(*tokenizer, {"ab", "token"}, millrace::ControlTokens::kShow);
    for (millrace::TokenId id : ids) {
      if (id.value < 0 || id.value >= tokenizer->vocab_size()) std::abort();
      stream.Append(id);
    }
    stream.Finish();
    tokenizer->Decode(ids);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<std::byte> wholes[] = {WholeVocabulary(false), WholeVocabulary(true)};
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (size < 2 || data[0] < 0xfe) {
    EncodeAndDecode(std::as_bytes(std::span(text)), text);
    return 0;
  }
  const size_t changes = std::min<size_t>(4 * (data[1] % 8), size - 2);
  EncodeAndDecode(millrace::PatchedFile(wholes[data[0] - 0xfe], {data + 2, changes}),
                  text.substr(2 + changes));
  return 0;
}
