// A fast hash of short strings for in-memory tables. Not stable across versions, not against
// attackers.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace millrace::tokenizer_internal {

inline uint64_t FoldedProduct(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t HashBytes(std::string_view text) {
  constexpr uint64_t kFirst = 0x9e3779b97f4a7c15u;
  constexpr uint64_t kSecond = 0xd6e8feb86659fd93u;
  uint64_t hash = text.size() * kFirst ^ kSecond;
  const char* data = text.data();
  size_t left = text.size();
  for (; left >= 8; data += 8, left -= 8) {
    uint64_t block;
    std::memcpy(&block, data, 8);
    hash = FoldedProduct(hash ^ block, kFirst);
  }
  uint64_t tail = 0;
  for (size_t i = 0; i < left; ++i) {
    tail = tail << 8 | static_cast<unsigned char>(data[i]);
  }
  return FoldedProduct(hash ^ tail, kSecond);
}

}  // namespace millrace::tokenizer_internal
