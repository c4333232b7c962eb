// The searches of the quantiser: scales and minimums that fit weights best, sixteen sub-blocks at a
// time. Plain data at the border, so that each instruction set's table is compiled on its own.
//
// Lanes: element i of sub-block `lane` stands at [16 * i + lane]; a sub-block has n elements, n <=
// 32. All errors are weighted squares, sum of w * (decoded - x)^2 with w >= 0.
// Invariant: all tables give the same bits (base/f32x16_*.h), so a file does not depend on where it
// was made.
#pragma once

#include <cstdint>

#include "simd/isa.h"

namespace millrace {

inline constexpr int kLanes = 16;
inline constexpr int kMostLaneElements = 32;

// What a code may stand for, in units of the scale: all integers low..high where `values` is null,
// else `count` ascending values.
struct CodeGrid {
  float low = 0;
  float high = 0;
  const float* values = nullptr;
  int count = 0;
};

// Sums per lane for the least squares of a super-block's own scales, of the chosen codes:
// with a = scale * code and m the minimum (both before the super-block's scales).
struct LaneSums {
  alignas(64) float aa[kLanes], am[kLanes], mm[kLanes], ax[kLanes], mx[kLanes];
  alignas(64) float error[kLanes];
};

struct FitKernels {
  // Largest magnitude and sum of squares of x[0..count), count a multiple of 16. Gives false where
  // a value is not finite; the results then mean nothing.
  bool (*measure)(const float* x, int count, float* largest, float* sum_of_squares);
  // out[16 * i + first_lane + l] = in[n * l + i] * factor for l < lanes.
  void (*transpose)(const float* in, int n, int lanes, int first_lane, float factor, float* out);
  // w = (deviation[lane] + |x|) * importance; importance null: 1.
  void (*weigh)(const float* x, const float* importance, int n, const float* deviation, float* w);

  // x about scale * code: the best scale of each lane. The search begins at code `starts[c]` for
  // the value of largest magnitude.
  void (*fit_scale)(const float* x, const float* w, int n, const CodeGrid& grid,
                    const float* starts, int count, float* scale);
  // x about d[lane] * s * code with s an integer in s_low..s_high near the given s: the best s, its
  // codes (as values of the grid) and sums.
  void (*choose_scale)(const float* x, const float* w, int n, const CodeGrid& grid, const float* d,
                       float s_low, float s_high, float* s, float* codes, LaneSums* sums);

  // x about scale * code - min with codes 0..top; min >= 0 unless `free_min`.
  void (*fit_affine)(const float* x, const float* w, int n, float top, bool free_min, float* scale,
                     float* min);
  // x about d[lane] * s * code - dmin[lane] * m with integers s, m in 0..s_top near the given ones.
  void (*choose_affine)(const float* x, const float* w, int n, float top, const float* d,
                        const float* dmin, float s_top, float* s, float* m, float* codes,
                        LaneSums* sums);
  // x about scale * code - min for the given ones: codes 0..top.
  void (*affine_codes)(const float* x, int n, float top, const float* scale, const float* min,
                       float* codes);

  void (*halves_to_floats)(const uint16_t* halves, int64_t count, float* out);  // F16
};

const FitKernels& FitKernelsFor(Isa isa);

namespace fit_internal {
extern const FitKernels kScalar;
#if defined(__x86_64__)
extern const FitKernels kAvx2;
extern const FitKernels kAvx512;
#endif
}  // namespace fit_internal

}  // namespace millrace
