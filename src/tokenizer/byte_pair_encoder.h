// BytePairEncoder: byte-level byte-pair encoding (Radford et al. 2019, section 2.2). A word's bytes
// are symbols that are merged by rank.
//
// Invariant: every merge's parts and result are symbols. Ids below the vocabulary's size are
// tokens; the others are strings that stand in the merges only, and fall apart into their bytes'
// tokens.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/symbol_merger.h"
#include "tokenizer/vocabulary.h"

namespace millrace::tokenizer_internal {

// GPT-2's alphabet: every byte as one printable character ("Ġ" for a space).
void AppendByteCharacter(unsigned char byte, std::string& out);
// The bytes that a token's text stands for; characters outside the alphabet stand for themselves.
std::string DecodeByteCharacters(std::string_view text);

class BytePairEncoder {
 public:
  // Reads tokenizer.ggml.merges.
  static Result<BytePairEncoder> FromGguf(const GgufFile& file, const Vocabulary& vocabulary,
                                          const Pretokenizer& pretokenizer,
                                          std::optional<TokenId> unknown);

  // Appends the ids of `text`, which has no special tokens.
  void Encode(const Vocabulary& vocabulary, std::string_view text, std::vector<TokenId>& out) const;

 private:
  struct MergeSlot {
    uint64_t pair = 0;  // left id and right id
    uint32_t rank = Merge::kNever;
    int32_t id = 0;
  };

  class Builder;
  struct Scratch {
    SymbolMerger merger;
    std::string text;
  };
  void EncodeWord(const Vocabulary& vocabulary, std::string_view word, Scratch& scratch,
                  std::vector<TokenId>& out) const;
  void AppendSymbol(int32_t id, int32_t vocabulary_size, std::vector<TokenId>& out) const;
  void AppendByte(unsigned char byte, int32_t vocabulary_size, std::vector<TokenId>& out) const;
  Merge FindMerge(int32_t left, int32_t right) const;
  size_t SlotOf(uint64_t pair) const { return (pair * 0x9e3779b97f4a7c15u) >> shift_; }

  Pretokenizer pretokenizer_;
  std::optional<TokenId> unknown_;
  std::array<int32_t, 256> byte_symbols_{};
  std::vector<std::string>
      extra_bytes_;               // of symbols that are no tokens, by id less the vocabulary's size
  std::vector<MergeSlot> slots_;  // open addressing; a power of two, at most half full
  int shift_ = 63;
};

}  // namespace millrace::tokenizer_internal
