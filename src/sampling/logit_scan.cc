#include "sampling/logit_scan.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace millrace {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
// Independent lanes let the compiler use vector registers: it may not reorder one running maximum
// by itself.
constexpr size_t kLanes = 16;
constexpr size_t kChunk = 512;  // values per round of ArgMax; a multiple of kLanes

// `value > best` keeps `best` when `value` is NaN; std::max(value, best) would not.
float Larger(float value, float best) { return value > best ? value : best; }

}  // namespace

float MaxOf(std::span<const float> logits) {
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, kLowest);
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = Larger(logits[i + lane], lanes[lane]);
    }
  }
  float max = kLowest;
  for (float lane : lanes) max = Larger(lane, max);
  for (; i < logits.size(); ++i) max = Larger(logits[i], max);
  return max;
}

TokenId ArgMax(std::span<const float> logits) {
  float best = kLowest;
  size_t best_index = 0;
  for (size_t first = 0; first < logits.size(); first += kChunk) {
    const auto chunk = logits.subspan(first, std::min(kChunk, logits.size() - first));
    const float max = MaxOf(chunk);
    if (!(max > best)) continue;
    best = max;
    best_index =
        first + static_cast<size_t>(std::find(chunk.begin(), chunk.end(), max) - chunk.begin());
  }
  return TokenId(static_cast<int32_t>(best_index));
}

bool HasNan(std::span<const float> logits) {
  int32_t lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] |= logits[i + lane] != logits[i + lane] ? 1 : 0;
    }
  }
  int32_t any = 0;
  for (int32_t lane : lanes) any |= lane;
  for (; i < logits.size(); ++i) any |= logits[i] != logits[i] ? 1 : 0;
  return any != 0;
}

}  // namespace millrace
