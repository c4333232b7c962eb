// libFuzzer target: any GGUF gives a tokenizer or an error, and any tokenizer encodes and decodes
// any text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "gguf/gguf.h"
#include "tokenizer/text_stream.h"
#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto file = millrace::ParseGguf(bytes, "fuzz");
  if (!file.ok()) return 0;
  const auto tokenizer = millrace::Tokenizer::FromGguf(*file);
  if (!tokenizer.ok()) return 0;
  // The file's own bytes, which hold the vocabulary's words.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
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
  return 0;
}
