// TokenMask: which tokens of a vocabulary may come next, one bit each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/id.h"

namespace millrace {

class TokenMask {
 public:
  explicit TokenMask(int32_t vocab_size)
      : words_((static_cast<size_t>(vocab_size) + 63) / 64, uint64_t{0}) {}

  void Allow(TokenId token) {
    words_[static_cast<size_t>(token.value) / 64] |= uint64_t{1} << (token.value % 64);
  }
  bool Allows(TokenId token) const {
    const auto word = static_cast<size_t>(token.value) / 64;
    return word < words_.size() && (words_[word] >> (token.value % 64) & 1) != 0;
  }
  void AllowAllOf(const TokenMask& other) {
    for (size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
  }
  bool AllowsAny() const {
    for (const uint64_t word : words_) {
      if (word != 0) return true;
    }
    return false;
  }
  // Bit i % 64 of word i / 64 is token i; tokens behind the last word are forbidden.
  std::span<const uint64_t> words() const { return words_; }

 private:
  std::vector<uint64_t> words_;
};

}  // namespace millrace
