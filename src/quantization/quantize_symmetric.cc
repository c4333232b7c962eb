// The formats of one scale: Q4_0, Q5_0, IQ4_NL and MXFP4 (a scale per block), Q3_K, Q6_K and IQ4_XS
// (small signed integers times the super-block's half).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "quantization/lane_batch.h"
#include "quantization/matmul_kernels.h"

namespace millrace::quantize_internal {
namespace {

// What a symmetric format is: its blocks, the codes and the integers of the sub-blocks.
struct Format {
  BlockShape shape;
  CodeGrid grid;
  float s_low = 1, s_high = 1;  // both 1: the block has no integers
};

struct GridValues {
  float iq4[16];
  float mxfp4[15];  // ascending; 0 once
};

GridValues MakeGridValues() {
  GridValues values;
  for (int i = 0; i < 16; ++i) values.iq4[i] = static_cast<float>(kIq4Values[i]);
  for (int i = 0; i < 8; ++i) {
    values.mxfp4[7 + i] = static_cast<float>(kMxfp4Values[i]);
    values.mxfp4[7 - i] = -static_cast<float>(kMxfp4Values[i]);
  }
  return values;
}

Format FormatOf(DType type, const GridValues& values) {
  switch (type) {
    case DType::kQ4_0:
      return {{32, 1}, {-8, 7}};
    case DType::kQ5_0:
      return {{32, 1}, {-16, 15}};
    case DType::kIQ4_NL:
      return {{32, 1}, {-127, 113, values.iq4, 16}};
    case DType::kMXFP4:
      return {{32, 1}, {-12, 12, values.mxfp4, 15}};
    case DType::kQ3_K:
      return {{16, 16}, {-4, 3}, -32, 31};
    case DType::kQ6_K:
      return {{16, 16}, {-32, 31}, -128, 127};
    case DType::kIQ4_XS:
      return {{32, 8}, {-127, 113, values.iq4, 16}, -32, 31};
    default:
      CHECK(false);
  }
}

// Codes that the value of largest magnitude may get, beginning near the grid's low end and, where
// the grid is coarse, near its high end too: the sign of the scale then differs.
struct Starts {
  float codes[40];
  int count = 0;
};

Starts StartsOf(const CodeGrid& grid) {
  Starts starts;
  const bool values = grid.values != nullptr;
  const float step = values ? 3.0f : (grid.low < -8 ? 0.2f : 0.1f);
  const int reach = values ? 5 : 7;
  for (int i = -reach; i <= reach; ++i) {
    starts.codes[starts.count++] = grid.low + step * static_cast<float>(i);
    if (grid.low >= -16 || values)
      starts.codes[starts.count++] = grid.high + step * static_cast<float>(i);
  }
  return starts;
}

struct SymmetricState {
  alignas(64) float d[kLanes], s[kLanes];
  alignas(64) float codes[kLanes * kMostLaneElements];
  LaneSums sums;
};

// The half that the lanes' scales call for (the largest in magnitude gets the integers' low end),
// and the integers nearest to them.
void Begin(const Format& format, const LaneBatch& batch, const float* scale,
           SymmetricState& state) {
  const int lanes = format.shape.lanes;
  for (int first = 0; first < kLanes; first += lanes) {
    float extreme = 0;
    for (int l = first; l < first + lanes; ++l) {
      if (std::fabs(scale[l]) > std::fabs(extreme)) extreme = scale[l];
    }
    const float d = RoundInUnits(extreme / format.s_low, batch.unit[first]);
    for (int l = first; l < first + lanes; ++l) {
      state.d[l] = d;
      state.s[l] = format.s_high;
      if (format.s_low == format.s_high) continue;
      const float s = d != 0 ? scale[l] / d : 0;
      state.s[l] = std::nearbyint(std::clamp(s, format.s_low, format.s_high));
    }
  }
}

void RefitHalves(const Format& format, const LaneBatch& batch, SymmetricState& state) {
  const int lanes = format.shape.lanes;
  for (int first = 0; first < kLanes; first += lanes) {
    const float aa = Total(state.sums.aa, first, lanes), ax = Total(state.sums.ax, first, lanes);
    if (!(aa > 0) || ax == 0) continue;
    std::fill_n(state.d + first, lanes, RoundInUnits(ax / aa, batch.unit[first]));
  }
}

void KeepBetterBlocks(const BlockShape& shape, const SymmetricState& candidate,
                      SymmetricState& best) {
  for (int first = 0; first < kLanes; first += shape.lanes) {
    if (!(Total(candidate.sums.error, first, shape.lanes) <
          Total(best.sums.error, first, shape.lanes))) {
      continue;
    }
    for (int l = first; l < first + shape.lanes; ++l) {
      best.d[l] = candidate.d[l];
      best.s[l] = candidate.s[l];
      best.sums.error[l] = candidate.sums.error[l];
      for (int i = 0; i < shape.length; ++i) best.codes[16 * i + l] = candidate.codes[16 * i + l];
    }
  }
}

void Choose(const FitKernels& k, const Format& format, const LaneBatch& batch,
            SymmetricState& state) {
  k.choose_scale(batch.x, batch.w, batch.length, format.grid, state.d, format.s_low, format.s_high,
                 state.s, state.codes, &state.sums);
}

void SearchBlocks(const FitKernels& k, const Format& format, const Starts& starts,
                  const LaneBatch& batch, SymmetricState& best) {
  alignas(64) float scale[kLanes];
  k.fit_scale(batch.x, batch.w, batch.length, format.grid, starts.codes, starts.count, scale);
  Begin(format, batch, scale, best);
  Choose(k, format, batch, best);
  SymmetricState state = best;
  for (int round = 0; round < kRounds; ++round) {
    RefitHalves(format, batch, state);
    Choose(k, format, batch, state);
    KeepBetterBlocks(format.shape, state, best);
  }
}

// MXFP4's scale is a power of two: the exponents near the one that gives the largest value the
// largest code, and the best of them per block. d of code units (halves of the format's values).
void SearchPowers(const FitKernels& k, const Format& format, const LaneBatch& batch,
                  SymmetricState& best) {
  constexpr int kBelow = 3, kAbove = 1;
  SymmetricState state;
  std::fill_n(best.sums.error, kLanes, std::numeric_limits<float>::max());
  for (int step = -kBelow; step <= kAbove; ++step) {
    // The batch's largest value is in [1, 2); the largest code is 12.
    std::fill_n(state.d, kLanes, std::ldexp(1.0f, step - 2));
    std::fill_n(state.s, kLanes, 1.0f);
    Choose(k, format, batch, state);
    KeepBetterBlocks(format.shape, state, best);
  }
}

int CodeAt(const SymmetricState& state, int lane, int i) {
  return static_cast<int>(state.codes[16 * i + lane]);
}

// The index of a value of the IQ4 or MXFP4 table.
template <size_t kCount>
uint8_t IndexOf(const int8_t (&table)[kCount], int value) {
  for (size_t i = 0; i < kCount; ++i) {
    if (table[i] == value) return static_cast<uint8_t>(i);
  }
  CHECK(false);
}

// Index of every value in -128..127.
struct Indices {
  uint8_t of[256] = {};
  template <size_t kCount>
  explicit Indices(const int8_t (&table)[kCount]) {
    for (size_t i = 0; i < kCount; ++i) {
      // MXFP4 has 0 twice; the first counts.
      of[table[i] + 128] = IndexOf(table, table[i]);
    }
  }
};

// A block of one scale: Q4_0, Q5_0, IQ4_NL or MXFP4.
void WriteSimple(DType type, const Indices& indices, const SymmetricState& state, float unit,
                 int lane, uint8_t* b) {
  const float d = state.d[lane] * unit;
  uint8_t* nibbles = b + (type == DType::kQ5_0 ? 6 : type == DType::kMXFP4 ? 1 : 2);
  if (type == DType::kMXFP4) {
    int exponent = 0;
    std::frexp(d, &exponent);  // d = 2^(exponent - 1)
    b[0] = static_cast<uint8_t>(std::clamp(exponent - 1 + 128, 0, 254));
  } else {
    StoreHalf(b, d);
  }
  uint32_t high = 0;
  const auto code = [&](int i) -> uint32_t {
    const int q = CodeAt(state, lane, i);
    if (type == DType::kQ4_0) return static_cast<uint32_t>(q + 8);
    if (type == DType::kQ5_0) return static_cast<uint32_t>(q + 16);
    return indices.of[q + 128];
  };
  for (int i = 0; i < 16; ++i) {
    const uint32_t low = code(i), up = code(i + 16);
    nibbles[i] = static_cast<uint8_t>((low & 15) | (up & 15) << 4);
    high |= low >> 4 << i | up >> 4 << (i + 16);
  }
  if (type == DType::kQ5_0) std::memcpy(b + 2, &high, sizeof(high));
}

void WriteQ6_K(const SymmetricState& state, float d, uint8_t* b) {
  std::memset(b, 0, 210);
  StoreHalf(b + 208, d);
  for (int s = 0; s < 16; ++s) b[192 + s] = static_cast<uint8_t>(static_cast<int8_t>(state.s[s]));
  for (int e = 0; e < 256; ++e) {
    const int q = CodeAt(state, e / 16, e % 16) + 32;
    const int half = e / 128, quarter = e % 128 / 32, l = e % 32;
    uint8_t& low = b[half * 64 + quarter % 2 * 32 + l];
    uint8_t& high = b[128 + half * 32 + l];
    low = static_cast<uint8_t>(low | (q & 15) << (quarter / 2 * 4));
    high = static_cast<uint8_t>(high | (q >> 4) << (quarter * 2));
  }
}

void WriteQ3_K(const SymmetricState& state, float d, uint8_t* b) {
  std::memset(b, 0, 110);
  StoreHalf(b + 108, d);
  for (int s = 0; s < 16; ++s) {
    const int scale = static_cast<int>(state.s[s]) + 32;
    uint8_t& low = b[96 + s % 8];
    uint8_t& high = b[104 + s % 4];
    low = static_cast<uint8_t>(low | (scale & 15) << (s / 8 * 4));
    high = static_cast<uint8_t>(high | (scale >> 4) << (s / 4 * 2));
  }
  for (int e = 0; e < 256; ++e) {
    const int q = CodeAt(state, e / 16, e % 16) + 4;
    uint8_t& low = b[32 + e / 128 * 32 + e % 32];
    low = static_cast<uint8_t>(low | (q & 3) << (e % 128 / 32 * 2));
    b[e % 32] = static_cast<uint8_t>(b[e % 32] | (q >> 2) << (e / 32));
  }
}

void WriteIQ4_XS(const Indices& indices, const SymmetricState& state, int first, float d,
                 uint8_t* b) {
  std::memset(b, 0, 8);
  StoreHalf(b, d);
  uint16_t scales_high = 0;
  for (int s = 0; s < 8; ++s) {
    const int scale = static_cast<int>(state.s[first + s]) + 32;
    b[4 + s / 2] = static_cast<uint8_t>(b[4 + s / 2] | (scale & 15) << (s % 2 * 4));
    scales_high = static_cast<uint16_t>(scales_high | (scale >> 4) << (2 * s));
    for (int i = 0; i < 16; ++i) {
      const uint8_t low = indices.of[CodeAt(state, first + s, i) + 128];
      const uint8_t up = indices.of[CodeAt(state, first + s, i + 16) + 128];
      b[8 + 16 * s + i] = static_cast<uint8_t>(low | up << 4);
    }
  }
  std::memcpy(b + 2, &scales_high, sizeof(scales_high));
}

}  // namespace

void QuantizeSymmetric(DType type, const Source& source, uint8_t* out) {
  const GridValues values = MakeGridValues();
  const Format format = FormatOf(type, values);
  const Starts starts = StartsOf(format.grid);
  const Indices indices = type == DType::kMXFP4 ? Indices(kMxfp4Values) : Indices(kIq4Values);
  const auto bytes = static_cast<size_t>(InfoOf(type).block_bytes);
  const size_t blocks = source.values.size() / static_cast<size_t>(format.shape.elements());
  LaneBatch batch;
  SymmetricState state;
  for (size_t first = 0; first < blocks;
       first += static_cast<size_t>(format.shape.blocks_per_batch())) {
    FillBatch(source, format.shape, first, batch);
    if (type == DType::kMXFP4) {
      SearchPowers(source.kernels, format, batch, state);
    } else {
      SearchBlocks(source.kernels, format, starts, batch, state);
    }
    for (int b = 0; b < batch.blocks; ++b) {
      uint8_t* block = out + (first + static_cast<size_t>(b)) * bytes;
      const int lane = b * format.shape.lanes;
      const float d = state.d[lane] * batch.unit[lane];
      if (type == DType::kQ6_K) {
        WriteQ6_K(state, d, block);
      } else if (type == DType::kQ3_K) {
        WriteQ3_K(state, d, block);
      } else if (type == DType::kIQ4_XS) {
        WriteIQ4_XS(indices, state, lane, d, block);
      } else {
        WriteSimple(type, indices, state, batch.unit[lane], lane, block);
      }
    }
  }
}

}  // namespace millrace::quantize_internal
