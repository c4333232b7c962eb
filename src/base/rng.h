// CounterRng: random numbers as a pure function of (seed, position, draw), so that what a request
// samples never depends on what runs beside it. The mixer is SplitMix64's finaliser (Steele, Lea,
// Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014), applied once per key word.
#pragma once

#include <cstdint>

namespace millrace {

constexpr uint64_t Mix64(uint64_t z) {
  z += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// The numbers of one position of one request; a draw advances `draw` only.
class CounterRng {
 public:
  constexpr CounterRng(uint64_t seed, uint64_t position)
      : key_(Mix64(Mix64(seed) ^ Mix64(~position))) {}

  constexpr uint64_t NextU64() { return Mix64(key_ ^ Mix64(draw_++)); }
  // Uniform in [0, 1), 53 bits.
  constexpr double NextDouble() { return static_cast<double>(NextU64() >> 11) * 0x1p-53; }

 private:
  uint64_t key_;
  uint64_t draw_ = 0;
};

}  // namespace millrace
