// The formats of scale and minimum: Q4_1 and Q5_1 (halves of their own per block), Q2_K, Q4_K and
// Q5_K (small integers times the super-block's halves).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "quantization/block_formats.h"
#include "quantization/lane_batch.h"

namespace millrace::quantize_internal {
namespace {

// One super-block's share of a batch: lanes first..first+lanes.
struct AffineState {
  alignas(64) float d[kLanes], dmin[kLanes], s[kLanes], m[kLanes];
  alignas(64) float codes[kLanes * kMostLaneElements];
  LaneSums sums;
};

// The halves that the lanes' fits call for, and the integers nearest to the fits.
void Begin(const BlockShape& shape, const LaneBatch& batch, float s_top, const float* scale,
           const float* min, AffineState& state) {
  for (int first = 0; first < kLanes; first += shape.lanes) {
    const float unit = batch.unit[first];
    float most_scale = 0, most_min = 0;
    for (int l = first; l < first + shape.lanes; ++l) {
      most_scale = std::max(most_scale, scale[l]);
      most_min = std::max(most_min, min[l]);
    }
    const float d = RoundInUnits(most_scale / s_top, unit);
    const float dmin = RoundInUnits(most_min / s_top, unit);
    for (int l = first; l < first + shape.lanes; ++l) {
      state.d[l] = d;
      state.dmin[l] = dmin;
      state.s[l] = d > 0 ? std::nearbyint(std::min(scale[l] / d, s_top)) : 0;
      state.m[l] = dmin > 0 ? std::nearbyint(std::min(min[l] / dmin, s_top)) : 0;
    }
  }
}

// Least squares of the super-block's values on (s * code, m): new halves for the same integers.
void RefitHalves(const BlockShape& shape, const LaneBatch& batch, AffineState& state) {
  for (int first = 0; first < kLanes; first += shape.lanes) {
    const auto total = [&](const float* v) { return Total(v, first, shape.lanes); };
    const double aa = total(state.sums.aa), am = total(state.sums.am), mm = total(state.sums.mm);
    const double ax = total(state.sums.ax), mx = total(state.sums.mx);
    const double determinant = aa * mm - am * am;
    double d = 0, dmin = state.dmin[first];
    if (determinant > 1e-9 * aa * mm && determinant > 0) {
      d = (ax * mm - am * mx) / determinant;  // x = d a - dmin m
      dmin = (am * ax - aa * mx) / determinant;
    } else if (aa > 0) {
      d = (ax + dmin * am) / aa;
    }
    if (!(d > 0) || !(dmin >= 0)) continue;
    const float unit = batch.unit[first];
    std::fill_n(state.d + first, shape.lanes, RoundInUnits(static_cast<float>(d), unit));
    std::fill_n(state.dmin + first, shape.lanes, RoundInUnits(static_cast<float>(dmin), unit));
  }
}

void KeepBetterBlocks(const BlockShape& shape, const AffineState& candidate, AffineState& best) {
  for (int first = 0; first < kLanes; first += shape.lanes) {
    if (!(Total(candidate.sums.error, first, shape.lanes) <
          Total(best.sums.error, first, shape.lanes))) {
      continue;
    }
    for (int l = first; l < first + shape.lanes; ++l) {
      best.d[l] = candidate.d[l];
      best.dmin[l] = candidate.dmin[l];
      best.s[l] = candidate.s[l];
      best.m[l] = candidate.m[l];
      best.sums.error[l] = candidate.sums.error[l];
      for (int i = 0; i < shape.length; ++i) best.codes[16 * i + l] = candidate.codes[16 * i + l];
    }
  }
}

// Best integers and halves for every super-block of the batch.
void SearchSuperBlocks(const FitKernels& k, const BlockShape& shape, const LaneBatch& batch,
                       float top, float s_top, AffineState& best) {
  alignas(64) float scale[kLanes], min[kLanes];
  k.fit_affine(batch.x, batch.w, batch.length, top, false, scale, min);
  const auto choose = [&](AffineState& state) {
    k.choose_affine(batch.x, batch.w, batch.length, top, state.d, state.dmin, s_top, state.s,
                    state.m, state.codes, &state.sums);
  };
  Begin(shape, batch, s_top, scale, min, best);
  choose(best);
  AffineState state = best;
  for (int round = 0; round < kRounds; ++round) {
    RefitHalves(shape, batch, state);
    choose(state);
    KeepBetterBlocks(shape, state, best);
  }
}

// The codes of a super-block as bytes, element by element.
void BlockCodes(const BlockShape& shape, const AffineState& state, int first, uint8_t* codes) {
  for (int l = 0; l < shape.lanes; ++l) {
    for (int i = 0; i < shape.length; ++i) {
      codes[l * shape.length + i] = static_cast<uint8_t>(state.codes[16 * i + first + l]);
    }
  }
}

void WriteQ4_K(const uint8_t* codes, uint8_t* b) {
  for (int i = 0; i < 128; ++i) {
    const int e = i / 32 * 64 + i % 32;
    b[16 + i] = static_cast<uint8_t>(codes[e] | codes[e + 32] << 4);
  }
}

void WriteQ5_K(const uint8_t* codes, uint8_t* b) {
  std::memset(b + 16, 0, 32);
  for (int e = 0; e < 256; ++e) {
    b[16 + e % 32] = static_cast<uint8_t>(b[16 + e % 32] | (codes[e] >> 4) << (e / 32));
  }
  for (int i = 0; i < 128; ++i) {
    const int e = i / 32 * 64 + i % 32;
    b[48 + i] = static_cast<uint8_t>((codes[e] & 15) | (codes[e + 32] & 15) << 4);
  }
}

void WriteQ2_K(const uint8_t* codes, uint8_t* b) {
  for (int i = 0; i < 64; ++i) {
    const uint8_t* c = codes + i / 32 * 128 + i % 32;
    b[16 + i] = static_cast<uint8_t>(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
  }
}

void WriteSuperBlock(DType type, const BlockShape& shape, const LaneBatch& batch,
                     const AffineState& state, int first, uint8_t* b) {
  uint8_t codes[256];
  BlockCodes(shape, state, first, codes);
  const float d = state.d[first] * batch.unit[first];
  const float dmin = state.dmin[first] * batch.unit[first];
  if (type == DType::kQ2_K) {
    for (int l = 0; l < 16; ++l) {
      b[l] = static_cast<uint8_t>(static_cast<int>(state.s[first + l]) |
                                  static_cast<int>(state.m[first + l]) << 4);
    }
    StoreHalf(b + 80, d);
    StoreHalf(b + 82, dmin);
    return WriteQ2_K(codes, b);
  }
  StoreHalf(b, d);
  StoreHalf(b + 2, dmin);
  ScalesAndMins packed;
  for (int l = 0; l < 8; ++l) {
    packed.scale[l] = static_cast<uint8_t>(state.s[first + l]);
    packed.min[l] = static_cast<uint8_t>(state.m[first + l]);
  }
  PackScalesAndMins(packed, b + 4);
  if (type == DType::kQ4_K) return WriteQ4_K(codes, b);
  WriteQ5_K(codes, b);
}

// Q4_1 and Q5_1: x = d q + m with halves d and m of the block's own.
void QuantizeHalves(DType type, const Source& source, uint8_t* out) {
  const BlockShape shape = {32, 1};
  const float top = type == DType::kQ4_1 ? 15.0f : 31.0f;
  const auto bytes = static_cast<size_t>(InfoOf(type).block_bytes);
  const size_t blocks = source.values.size() / 32;
  LaneBatch batch;
  for (size_t first = 0; first < blocks; first += kLanes) {
    FillBatch(source, shape, first, batch);
    alignas(64) float scale[kLanes], min[kLanes], codes[kLanes * 32];
    source.kernels.fit_affine(batch.x, batch.w, 32, top, true, scale, min);
    for (int l = 0; l < kLanes; ++l) {
      scale[l] = RoundInUnits(scale[l], batch.unit[l]);
      min[l] = RoundInUnits(min[l], batch.unit[l]);
    }
    source.kernels.affine_codes(batch.x, 32, top, scale, min, codes);
    for (int l = 0; l < batch.blocks; ++l) {
      uint8_t* b = out + (first + static_cast<size_t>(l)) * bytes;
      StoreHalf(b, scale[l] * batch.unit[l]);
      StoreHalf(b + 2, -min[l] * batch.unit[l]);
      uint32_t high = 0;
      uint8_t* nibbles = b + (type == DType::kQ4_1 ? 4 : 8);
      for (int i = 0; i < 16; ++i) {
        const auto low = static_cast<uint32_t>(codes[16 * i + l]);
        const auto up = static_cast<uint32_t>(codes[16 * (i + 16) + l]);
        nibbles[i] = static_cast<uint8_t>((low & 15) | (up & 15) << 4);
        high |= low >> 4 << i | up >> 4 << (i + 16);
      }
      if (type == DType::kQ5_1) std::memcpy(b + 4, &high, sizeof(high));
    }
  }
}

}  // namespace

void QuantizeAffine(DType type, const Source& source, uint8_t* out) {
  if (type == DType::kQ4_1 || type == DType::kQ5_1) return QuantizeHalves(type, source, out);
  const bool two_bits = type == DType::kQ2_K;
  CHECK(two_bits || type == DType::kQ4_K || type == DType::kQ5_K);
  const BlockShape shape = two_bits ? BlockShape{16, 16} : BlockShape{32, 8};
  const float top = two_bits ? 3.0f : (type == DType::kQ4_K ? 15.0f : 31.0f);
  const float s_top = two_bits ? 15.0f : 63.0f;
  const auto bytes = static_cast<size_t>(InfoOf(type).block_bytes);
  const size_t blocks = source.values.size() / 256;
  LaneBatch batch;
  AffineState state;
  for (size_t first = 0; first < blocks; first += static_cast<size_t>(shape.blocks_per_batch())) {
    FillBatch(source, shape, first, batch);
    SearchSuperBlocks(source.kernels, shape, batch, top, s_top, state);
    for (int b = 0; b < batch.blocks; ++b) {
      WriteSuperBlock(type, shape, batch, state, b * shape.lanes,
                      out + (first + static_cast<size_t>(b)) * bytes);
    }
  }
}

}  // namespace millrace::quantize_internal
