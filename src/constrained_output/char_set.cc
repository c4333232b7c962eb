#include "constrained_output/char_set.h"

#include <algorithm>

namespace millrace::constrained_internal {
namespace {

constexpr uint32_t kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;

size_t LengthOf(uint32_t code_point) {
  return code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
}

uint32_t LargestOfLength(size_t length) {
  constexpr uint32_t kLargest[] = {0, 0x7F, 0x7FF, 0xFFFF, kMaxCodePoint};
  return kLargest[length];
}

void Encode(uint32_t code_point, size_t length, uint8_t* out) {
  constexpr uint8_t kLead[] = {0, 0x00, 0xC0, 0xE0, 0xF0};
  for (size_t i = length; i-- > 1;) {
    out[i] = static_cast<uint8_t>(0x80 | (code_point & 0x3F));
    code_point >>= 6;
  }
  out[0] = static_cast<uint8_t>(kLead[length] | code_point);
}

// [low, high] of one encoded length, cut so that each piece is a product of byte ranges.
void Split(uint32_t low, uint32_t high, size_t length, std::vector<Utf8Sequence>& out) {
  for (size_t i = 1; i < length; ++i) {
    const uint32_t mask = (1u << (6 * i)) - 1;
    if ((low & ~mask) == (high & ~mask)) continue;
    if ((low & mask) != 0) {
      Split(low, low | mask, length, out);
      return Split((low | mask) + 1, high, length, out);
    }
    if ((high & mask) != mask) {
      Split(low, (high & ~mask) - 1, length, out);
      return Split(high & ~mask, high, length, out);
    }
  }
  uint8_t first[4], last[4];
  Encode(low, length, first);
  Encode(high, length, last);
  Utf8Sequence sequence{.bytes = {}, .length = length};
  for (size_t i = 0; i < length; ++i) sequence.bytes[i] = {first[i], last[i]};
  out.push_back(sequence);
}

}  // namespace

void CharSet::Add(uint32_t low, uint32_t high) {
  high = std::min(high, kMaxCodePoint);
  if (low > high) return;
  if (low < kFirstSurrogate) AddScalars(low, std::min(high, kFirstSurrogate - 1));
  if (high > kLastSurrogate) AddScalars(std::max(low, kLastSurrogate + 1), high);
}

void CharSet::AddScalars(uint32_t low, uint32_t high) {
  // The first range that ends at low - 1 or later.
  auto at = std::lower_bound(ranges_.begin(), ranges_.end(), low,
                             [](const Range& r, uint32_t value) { return r.high + 1 < value; });
  auto end = at;
  while (end != ranges_.end() && end->low <= high + 1) {
    low = std::min(low, end->low);
    high = std::max(high, end->high);
    ++end;
  }
  at = ranges_.erase(at, end);
  ranges_.insert(at, {low, high});
}

void CharSet::Add(const CharSet& other) {
  for (const Range& range : other.ranges_) AddScalars(range.low, range.high);
}

CharSet CharSet::Inverted() const {
  CharSet inverted;
  uint32_t next = 0;
  for (const Range& range : ranges_) {
    if (range.low > next) inverted.Add(next, range.low - 1);
    next = range.high + 1;
  }
  if (next <= kMaxCodePoint) inverted.Add(next, kMaxCodePoint);
  return inverted;
}

CharSet CharSet::And(const CharSet& other) const {
  CharSet both;
  auto a = ranges_.begin();
  auto b = other.ranges_.begin();
  while (a != ranges_.end() && b != other.ranges_.end()) {
    const uint32_t low = std::max(a->low, b->low), high = std::min(a->high, b->high);
    if (low <= high) both.AddScalars(low, high);
    (a->high < b->high) ? ++a : ++b;
  }
  return both;
}

bool CharSet::Contains(uint32_t code_point) const {
  const auto at = std::lower_bound(ranges_.begin(), ranges_.end(), code_point,
                                   [](const Range& r, uint32_t value) { return r.high < value; });
  return at != ranges_.end() && at->low <= code_point;
}

std::vector<Utf8Sequence> Utf8SequencesOf(const CharSet& set) {
  std::vector<Utf8Sequence> sequences;
  for (const CharSet::Range& range : set.ranges()) {
    uint32_t low = range.low;
    while (low <= range.high) {
      const size_t length = LengthOf(low);
      const uint32_t high = std::min(range.high, LargestOfLength(length));
      Split(low, high, length, sequences);
      low = high + 1;
    }
  }
  return sequences;
}

}  // namespace millrace::constrained_internal
