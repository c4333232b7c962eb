// SuffixIndex: text of which is asked how it went on after a given run of tokens.
//
// What a suffix tree answers, kept as hash chains: positions that follow the same kKeyTokens tokens
// are linked, the latest first, so that appending takes constant time and old text can be dropped;
// a suffix tree cannot forget. Invariant: holds at most `capacity` tokens, the latest ones.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/id.h"

namespace millrace {

class SuffixIndex {
 public:
  static constexpr size_t kKeyTokens = 2;

  explicit SuffixIndex(size_t capacity) : capacity_(capacity), heads_(kHeads, kNone) {}

  // A text of its own: no run reaches from one into the next.
  void Append(std::span<const TokenId> text);
  // Calls `found` with each position (an index into text()) that follows the last kKeyTokens tokens
  // of `context`, the latest first, at most `most` times.
  template <class Found>
  void ForEach(std::span<const TokenId> context, int32_t most, Found found) const {
    if (context.size() < kKeyTokens || text_.empty()) return;
    const auto key = context.last(kKeyTokens);
    for (int32_t at = heads_[HeadOf(key)]; at != kNone && most > 0; at = earlier_[Index(at)]) {
      const auto position = static_cast<size_t>(at);
      if (text_[position - 1] != key[1] || text_[position - 2] != key[0]) continue;
      --most;
      found(position);
    }
  }
  std::span<const TokenId> text() const { return text_; }

 private:
  static constexpr size_t kHeads = size_t{1} << 12;
  static constexpr int32_t kNone = -1;
  static constexpr TokenId kBorder{-1};  // equals no token

  static size_t Index(int32_t at) { return static_cast<size_t>(at); }
  static size_t HeadOf(std::span<const TokenId> key);
  void Push(TokenId token);
  void DropOlderHalf();

  size_t capacity_;
  std::vector<TokenId> text_;
  std::vector<int32_t> earlier_;  // of each position: the one before it with the same head
  std::vector<int32_t> heads_;
};

}  // namespace millrace
