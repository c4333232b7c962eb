// WordCache: the ids of words that a call has encoded already, found in the call's own output. Text
// repeats its words, so most are found here. Lives for one call: nothing is shared between threads.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "tokenizer/hash.h"

namespace millrace::tokenizer_internal {

class WordCache {
 public:
  // For a text of `text_bytes`, which must outlive the cache: its words are kept as views. Short
  // texts get none.
  explicit WordCache(size_t text_bytes) {
    constexpr size_t kLeastBytes = 512;
    constexpr size_t kMostSlots = size_t{1} << 14;
    if (text_bytes < kLeastBytes) return;
    slots_.resize(std::min(kMostSlots, std::bit_ceil(text_bytes / 16)));
  }

  // Appends the ids of `word` to `out` by copying an earlier occurrence's, or by calling encode()
  // and remembering what that appended.
  template <class Encode>
  void Append(std::string_view word, std::vector<TokenId>& out, const Encode& encode) {
    constexpr size_t kLongest = 64;
    if (slots_.empty() || word.size() > kLongest) {
      encode();
      return;
    }
    Slot& slot = slots_[HashBytes(word) & (slots_.size() - 1)];
    if (slot.word == word) {
      for (size_t i = slot.first; i < slot.first + slot.count; ++i) {
        const TokenId id = out[i];
        out.push_back(id);
      }
      return;
    }
    const size_t first = out.size();
    encode();
    slot = {word, first, out.size() - first};
  }

 private:
  struct Slot {
    std::string_view word;
    size_t first = 0;  // index into the output
    size_t count = 0;
  };
  std::vector<Slot> slots_;  // direct-mapped; a power of two, or none
};

}  // namespace millrace::tokenizer_internal
