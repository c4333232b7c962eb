#include <bit>
#include <cstring>

#include "base/rng.h"
#include "prefix_cache/disk_tier.h"

namespace millrace {

// Four independent lanes of multiply and rotate, so that memory is the limit, mixed at the end.
uint64_t ChecksumOf(std::span<const std::byte> bytes) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15u;
  uint64_t lanes[4] = {1, 2, 3, 4};
  size_t at = 0;
  for (; at + 32 <= bytes.size(); at += 32) {
    uint64_t words[4];
    std::memcpy(words, bytes.data() + at, sizeof(words));
    for (int i = 0; i < 4; ++i) lanes[i] = std::rotl((lanes[i] ^ words[i]) * kOdd, 29);
  }
  uint64_t sum = Mix64(bytes.size());
  for (; at < bytes.size(); ++at) sum = Mix64(sum ^ static_cast<uint64_t>(bytes[at]));
  for (const uint64_t lane : lanes) sum = Mix64(sum ^ lane);
  return sum;
}

}  // namespace millrace
