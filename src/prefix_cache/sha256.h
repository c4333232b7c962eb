// SHA-256 (FIPS 180-4): names for cached blocks that nobody can make collide on purpose. Not for
// speed: a block's name hashes 160 bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace millrace {

using Digest = std::array<uint8_t, 32>;

class Sha256 {
 public:
  Sha256& Add(std::span<const std::byte> bytes);
  template <class T>
  Sha256& AddAll(std::span<const T> values) {
    return Add(std::as_bytes(values));
  }
  Digest Finish();  // then it is used up

 private:
  void Block(const uint8_t* block);

  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> pending_{};
  size_t pending_bytes_ = 0;
  uint64_t total_bytes_ = 0;
};

std::string HexOf(const Digest& digest);

}  // namespace millrace
