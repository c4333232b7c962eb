#include "tokenizer/byte_pair_encoder.h"

#include <fmt/format.h>

#include <bit>
#include <unordered_map>

#include "gguf/gguf.h"
#include "tokenizer/utf8.h"
#include "tokenizer/word_cache.h"

namespace millrace::tokenizer_internal {
namespace {

constexpr bool StandsForItself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) ||
         (byte >= 0xae && byte <= 0xff);
}

struct Alphabet {
  std::array<uint16_t, 256> character{};  // of a byte
  std::array<int16_t, 512> byte{};        // of a character below U+0200; -1: none
};

// The bytes that do not stand for themselves are the characters from U+0100 on, in order.
constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet;
  for (auto& b : alphabet.byte) b = -1;
  uint16_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const uint16_t c = StandsForItself(byte) ? static_cast<uint16_t>(byte) : next++;
    alphabet.character[byte] = c;
    alphabet.byte[c] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = MakeAlphabet();

uint64_t PairOf(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

void AppendByteCharacter(unsigned char byte, std::string& out) {
  AppendUtf8(kAlphabet.character[byte], out);
}

std::string DecodeByteCharacters(std::string_view text) {
  std::string bytes;
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = DecodeUtf8(text, pos);
    const bool is_byte = step.kind == Utf8Kind::kValid && step.code_point < kAlphabet.byte.size() &&
                         kAlphabet.byte[step.code_point] >= 0;
    if (is_byte) {
      bytes += static_cast<char>(kAlphabet.byte[step.code_point]);
    } else {
      bytes += text.substr(pos, step.length);
    }
    pos += step.length;
  }
  return bytes;
}

// Gives ids to the strings of the merges that are no tokens, and fills the table of merges.
class BytePairEncoder::Builder {
 public:
  Builder(BytePairEncoder& encoder, const Vocabulary& vocabulary)
      : encoder_(encoder), vocabulary_(vocabulary) {}

  void AddBytes() {
    for (int byte = 0; byte < 256; ++byte) {
      std::string text;
      AppendByteCharacter(static_cast<unsigned char>(byte), text);
      encoder_.byte_symbols_[static_cast<size_t>(byte)] = Intern(text);
    }
  }

  void ReserveMerges(size_t count) {
    const size_t slots = std::bit_ceil(2 * count + 2);
    encoder_.slots_.resize(slots);
    encoder_.shift_ = 64 - std::countr_zero(slots);
  }

  void AddMerge(std::string_view left, std::string_view right, uint32_t rank) {
    merged_.assign(left);
    merged_ += right;
    const uint64_t pair = PairOf(Intern(left), Intern(right));
    const int32_t id = Intern(merged_);
    size_t at = encoder_.SlotOf(pair);
    while (encoder_.slots_[at].rank != Merge::kNever) {
      if (encoder_.slots_[at].pair == pair) return;  // the first of equal merges has the rank
      at = (at + 1) & (encoder_.slots_.size() - 1);
    }
    encoder_.slots_[at] = {pair, rank, id};
  }

 private:
  int32_t Intern(std::string_view text) {
    const int32_t token = vocabulary_.Find(text);
    if (token != Vocabulary::kAbsent) return token;
    const auto next = vocabulary_.size() + static_cast<int32_t>(encoder_.extra_bytes_.size());
    const auto [found, added] = extra_.try_emplace(std::string(text), next);
    if (added) encoder_.extra_bytes_.push_back(DecodeByteCharacters(text));
    return found->second;
  }

  BytePairEncoder& encoder_;
  const Vocabulary& vocabulary_;
  std::unordered_map<std::string, int32_t> extra_;
  std::string merged_;
};

Result<BytePairEncoder> BytePairEncoder::FromGguf(const GgufFile& file,
                                                  const Vocabulary& vocabulary,
                                                  const Pretokenizer& pretokenizer,
                                                  std::optional<TokenId> unknown) {
  constexpr std::string_view kKey = "tokenizer.ggml.merges";
  ASSIGN_OR_RETURN(const std::vector<std::string_view>* const merges, file.FindStrings(kKey));
  if (merges == nullptr) {
    return Error{
        fmt::format("{} has no merges (metadata key '{}'), which its tokenizer needs; use "
                    "a complete model file.",
                    file.name(), kKey)};
  }
  BytePairEncoder encoder;
  encoder.pretokenizer_ = pretokenizer;
  encoder.unknown_ = unknown;
  Builder builder(encoder, vocabulary);
  builder.AddBytes();
  builder.ReserveMerges(merges->size());
  for (size_t rank = 0; rank < merges->size(); ++rank) {
    const std::string_view merge = (*merges)[rank];
    // A space never stands in the alphabet, except as the first byte of an odd file's token.
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size()) {
      return Error{
          fmt::format("{}: entry {} of {} is not two strings with a space between; the "
                      "file is damaged, download it again.",
                      file.name(), rank, kKey)};
    }
    builder.AddMerge(merge.substr(0, space), merge.substr(space + 1), static_cast<uint32_t>(rank));
  }
  return encoder;
}

Merge BytePairEncoder::FindMerge(int32_t left, int32_t right) const {
  const uint64_t pair = PairOf(left, right);
  for (size_t at = SlotOf(pair); slots_[at].rank != Merge::kNever;
       at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].pair == pair) return {slots_[at].rank, slots_[at].id};
  }
  return {};
}

void BytePairEncoder::AppendByte(unsigned char byte, int32_t vocabulary_size,
                                 std::vector<TokenId>& out) const {
  const int32_t id = byte_symbols_[byte];
  if (id < vocabulary_size) {
    out.push_back(TokenId(id));
  } else if (unknown_) {
    out.push_back(*unknown_);
  }
}

void BytePairEncoder::AppendSymbol(int32_t id, int32_t vocabulary_size,
                                   std::vector<TokenId>& out) const {
  if (id < vocabulary_size) {
    out.push_back(TokenId(id));
    return;
  }
  for (char byte : extra_bytes_[static_cast<size_t>(id - vocabulary_size)]) {
    AppendByte(static_cast<unsigned char>(byte), vocabulary_size, out);
  }
}

void BytePairEncoder::EncodeWord(const Vocabulary& vocabulary, std::string_view word,
                                 Scratch& scratch, std::vector<TokenId>& out) const {
  if (pretokenizer_.ignore_merges && word.size() <= vocabulary.longest_text()) {
    scratch.text.clear();
    for (char byte : word) AppendByteCharacter(static_cast<unsigned char>(byte), scratch.text);
    const int32_t id = vocabulary.Find(scratch.text);
    if (id != Vocabulary::kAbsent) {
      out.push_back(TokenId(id));
      return;
    }
  }
  std::vector<Symbol>& symbols = scratch.merger.symbols();
  symbols.clear();
  for (size_t i = 0; i < word.size(); ++i) {
    symbols.push_back({i, i + 1, byte_symbols_[static_cast<unsigned char>(word[i])]});
  }
  scratch.merger.Run(
      [this](const Symbol& left, const Symbol& right) { return FindMerge(left.id, right.id); });
  for (const Symbol& symbol : symbols) AppendSymbol(symbol.id, vocabulary.size(), out);
}

void BytePairEncoder::Encode(const Vocabulary& vocabulary, std::string_view text,
                             std::vector<TokenId>& out) const {
  WordSplitter words(pretokenizer_.kind, text);
  WordCache cache(text.size());
  Scratch scratch;
  for (std::string_view word = words.Next(); !word.empty(); word = words.Next()) {
    cache.Append(word, out, [&] { EncodeWord(vocabulary, word, scratch, out); });
  }
}

}  // namespace millrace::tokenizer_internal
