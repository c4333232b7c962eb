#include "tokenizer/sentencepiece_encoder.h"

#include <algorithm>
#include <bit>

#include "tokenizer/word_cache.h"

namespace millrace::tokenizer_internal {
namespace {

// Bytes of the character that begins with `lead`, by its high bits alone: bytes that are no
// character end up as byte tokens whatever their grouping.
size_t CharacterLength(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  if (byte < 0xc0) return 1;
  if (byte < 0xe0) return 2;
  return byte < 0xf0 ? 3 : 4;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::string ByteTokenText(unsigned byte) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  return std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">";
}

// Whether the space mark stands in `text` behind anything but another space mark.
bool CrossesWords(std::string_view text) {
  for (size_t at = text.find(kSpaceMark); at != std::string_view::npos;
       at = text.find(kSpaceMark, at + kSpaceMark.size())) {
    if (at > 0 && !text.substr(0, at).ends_with(kSpaceMark)) return true;
  }
  return false;
}

// Higher scores first, as integers in the same order; equal for the two zeros.
uint32_t PriorityOf(float score) {
  constexpr uint32_t kSign = 0x80000000;
  const auto bits = std::bit_cast<uint32_t>(0.0f - score);
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}

std::string EscapeSpaces(std::string_view text, SentencePieceEncoder::Space space) {
  std::string escaped;
  escaped.reserve(text.size() + text.size() / 2 + kSpaceMark.size());
  if (space == SentencePieceEncoder::Space::kPrefix) escaped += kSpaceMark;
  size_t begin = 0;
  for (size_t at = text.find(' '); at != std::string_view::npos; at = text.find(' ', begin)) {
    escaped += text.substr(begin, at - begin);
    escaped += kSpaceMark;
    begin = at + 1;
  }
  escaped += text.substr(begin);
  return escaped;
}

}  // namespace

std::optional<unsigned char> ParseByteToken(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  const int high = HexDigit(text[3]);
  const int low = HexDigit(text[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<unsigned char>(high * 16 + low);
}

SentencePieceEncoder::SentencePieceEncoder(const Vocabulary& vocabulary,
                                           std::optional<TokenId> unknown)
    : unknown_(unknown) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    int32_t id = vocabulary.Find(ByteTokenText(byte));
    if (id == Vocabulary::kAbsent) id = vocabulary.Find(std::string(1, static_cast<char>(byte)));
    byte_tokens_[byte] = id;
  }
  for (int32_t id = 0; id < vocabulary.size() && !tokens_cross_words_; ++id) {
    tokens_cross_words_ = CrossesWords(vocabulary.text(id));
  }
}

// A word begins with a space mark that follows another character.
size_t SentencePieceEncoder::PieceEnd(std::string_view text, size_t begin) const {
  if (tokens_cross_words_) return text.size();
  size_t at = begin;
  while (text.substr(at).starts_with(kSpaceMark)) at += kSpaceMark.size();
  return std::min(text.find(kSpaceMark, at), text.size());
}

void SentencePieceEncoder::EncodePiece(const Vocabulary& vocabulary, std::string_view piece,
                                       SymbolMerger& merger, std::vector<TokenId>& out) const {
  std::vector<Symbol>& symbols = merger.symbols();
  symbols.clear();
  for (size_t at = 0; at < piece.size();) {
    const size_t end = std::min(piece.size(), at + CharacterLength(piece[at]));
    symbols.push_back({at, end, Vocabulary::kAbsent});
    at = end;
  }
  merger.Run([&](const Symbol& left, const Symbol& right) -> Merge {
    const int32_t id = vocabulary.Find(piece.substr(left.begin, right.end - left.begin));
    if (id == Vocabulary::kAbsent) return {};
    return {PriorityOf(vocabulary.score(id)), id};
  });
  for (const Symbol& symbol : symbols) {
    const std::string_view text = piece.substr(symbol.begin, symbol.end - symbol.begin);
    const int32_t id = symbol.id != Vocabulary::kAbsent ? symbol.id : vocabulary.Find(text);
    if (id != Vocabulary::kAbsent) {
      out.push_back(TokenId(id));
      continue;
    }
    for (char byte : text) {
      const int32_t byte_id = byte_tokens_[static_cast<unsigned char>(byte)];
      if (byte_id != Vocabulary::kAbsent) {
        out.push_back(TokenId(byte_id));
      } else if (unknown_) {
        out.push_back(*unknown_);
      }
    }
  }
}

void SentencePieceEncoder::Encode(const Vocabulary& vocabulary, std::string_view text, Space space,
                                  std::vector<TokenId>& out) const {
  const std::string escaped = EscapeSpaces(text, space);
  const std::string_view view = escaped;
  WordCache cache(view.size());
  SymbolMerger merger;
  for (size_t begin = 0; begin < view.size();) {
    const size_t end = PieceEnd(view, begin);
    const std::string_view piece = view.substr(begin, end - begin);
    cache.Append(piece, out, [&] { EncodePiece(vocabulary, piece, merger, out); });
    begin = end;
  }
}

}  // namespace millrace::tokenizer_internal
