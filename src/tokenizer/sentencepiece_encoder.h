// SentencePieceEncoder: SentencePiece BPE (Kudo and Richardson 2018). Characters are merged into
// tokens by score, the highest first; what is no token falls back to the tokens of its bytes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "tokenizer/symbol_merger.h"
#include "tokenizer/vocabulary.h"

namespace millrace::tokenizer_internal {

// U+2581, which stands for a space in SentencePiece's vocabularies.
inline constexpr std::string_view kSpaceMark = "\xe2\x96\x81";

// The byte of a token such as "<0x0A>"; nothing for another text.
std::optional<unsigned char> ParseByteToken(std::string_view text);

class SentencePieceEncoder {
 public:
  SentencePieceEncoder(const Vocabulary& vocabulary, std::optional<TokenId> unknown);

  // Appends the ids of `text`, which has no special tokens. kPrefix puts a space before it.
  enum class Space { kNone, kPrefix };
  void Encode(const Vocabulary& vocabulary, std::string_view text, Space space,
              std::vector<TokenId>& out) const;

 private:
  void EncodePiece(const Vocabulary& vocabulary, std::string_view piece, SymbolMerger& merger,
                   std::vector<TokenId>& out) const;
  size_t PieceEnd(std::string_view text, size_t begin) const;

  std::optional<TokenId> unknown_;
  std::array<int32_t, 256> byte_tokens_{};  // Vocabulary::kAbsent where there is none
  // Whether a token has the space mark behind another character. If none has, no merge crosses the
  // beginning of a word, and words can be encoded one by one.
  bool tokens_cross_words_ = false;
};

}  // namespace millrace::tokenizer_internal
