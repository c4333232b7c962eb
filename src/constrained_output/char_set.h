// CharSet: a set of Unicode scalar values, and how its members look as UTF-8.
//
// Invariant: ranges are sorted, disjoint and not adjacent; surrogates (U+D800 to U+DFFF), which
// UTF-8 cannot spell, are never members.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace millrace::constrained_internal {

inline constexpr uint32_t kMaxCodePoint = 0x10FFFF;

class CharSet {
 public:
  struct Range {
    uint32_t low, high;  // both included
    friend bool operator==(const Range&, const Range&) = default;
  };

  CharSet() = default;
  CharSet(uint32_t low, uint32_t high) { Add(low, high); }
  static CharSet All() { return CharSet(0, kMaxCodePoint); }

  void Add(uint32_t low, uint32_t high);
  void Add(const CharSet& other);
  CharSet Inverted() const;
  CharSet Without(const CharSet& other) const { return And(other.Inverted()); }
  CharSet And(const CharSet& other) const;
  bool Contains(uint32_t code_point) const;
  bool empty() const { return ranges_.empty(); }
  const std::vector<Range>& ranges() const { return ranges_; }
  friend bool operator==(const CharSet&, const CharSet&) = default;

 private:
  void AddScalars(uint32_t low, uint32_t high);
  std::vector<Range> ranges_;
};

// A run of UTF-8 sequences of one length: byte i is any of [low, high].
struct Utf8Sequence {
  struct Bytes {
    uint8_t low, high;
  };
  Bytes bytes[4];
  size_t length;
};

// The UTF-8 of all members, as few runs (the method of Cox, Regular Expression Matching in the
// Wild, 2010).
std::vector<Utf8Sequence> Utf8SequencesOf(const CharSet& set);

}  // namespace millrace::constrained_internal
