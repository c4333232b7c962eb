// The searches of fit_kernels.h over F32x16, included after one of base/f32x16_*.h and
// HalvesToFloats. A lane is a sub-block, so no candidate needs a horizontal sum, and every lane
// keeps its own best.
#pragma once

#include "quantization/fit_kernels.h"

namespace millrace {
namespace {

constexpr float kTiny = 1e-30f;

inline F32x16 Zero() { return Set1(0.0f); }
inline F32x16 Square(F32x16 x) { return Mul(x, x); }
// 1 / x; 0 where |x| is next to nothing.
inline F32x16 Inverse(F32x16 x) {
  return Select(Less(Set1(kTiny), Abs(x)), Div(Set1(1.0f), x), Zero());
}
// a / b for b >= 0; 0 where b is next to nothing.
inline F32x16 Quotient(F32x16 a, F32x16 b) {
  return Select(Less(Set1(kTiny), b), Div(a, Max(b, Set1(kTiny))), Zero());
}

bool Measure(const float* x, int count, float* largest, float* sum_of_squares) {
  F32x16 most = Zero(), squares = Zero(), poison = Zero();
  for (int i = 0; i < count; i += 16) {
    const F32x16 v = Load(x + i);
    most = Max(Abs(v), most);
    squares = Fma(v, v, squares);
    poison = Fma(v, Zero(), poison);  // NaN from a NaN or an infinity
  }
  *largest = ReduceMax(most);
  *sum_of_squares = ReduceAdd(squares);
  return ReduceAdd(poison) == 0.0f;
}

void Transpose(const float* in, int n, int lanes, int first_lane, float factor, float* out) {
  for (int l = 0; l < lanes; ++l) {
    for (int i = 0; i < n; ++i) out[16 * i + first_lane + l] = in[n * l + i] * factor;
  }
}

void Weigh(const float* x, const float* importance, int n, const float* deviation, float* w) {
  const F32x16 base = Load(deviation);
  for (int i = 0; i < n; ++i) {
    F32x16 weight = Add(base, Abs(Load(x + 16 * i)));
    if (importance != nullptr) weight = Mul(weight, Load(importance + 16 * i));
    Store(w + 16 * i, weight);
  }
}

// The nearest integer in low..high.
struct IntegerGrid {
  F32x16 low, high;
  explicit IntegerGrid(const CodeGrid& grid) : low(Set1(grid.low)), high(Set1(grid.high)) {}
  F32x16 operator()(F32x16 t) const { return Round(Max(low, Min(high, t))); }
};

// The nearest of the values; of two as near the smaller.
struct ValueGrid {
  const float* values;
  int count;
  explicit ValueGrid(const CodeGrid& grid) : values(grid.values), count(grid.count) {}
  F32x16 operator()(F32x16 t) const {
    F32x16 nearest = Set1(values[0]);
    for (int k = 1; k < count; ++k) {
      const F32x16 border = Set1(0.5f * (values[k - 1] + values[k]));
      nearest = Select(Less(border, t), Set1(values[k]), nearest);
    }
    return nearest;
  }
};

struct ScaleFit {
  F32x16 scale, gain;
};

// Least squares of x on the codes that `inverse` gives; the error falls by `gain` = (sum wqx)^2 /
// sum wqq.
template <class Grid>
ScaleFit FitCodes(const float* x, const float* w, int n, const Grid& grid, F32x16 inverse) {
  F32x16 qx = Zero(), qq = Zero();
  for (int i = 0; i < n; ++i) {
    const F32x16 v = Load(x + 16 * i);
    const F32x16 q = grid(Mul(v, inverse));
    const F32x16 wq = Mul(Load(w + 16 * i), q);
    qx = Fma(wq, v, qx);
    qq = Fma(wq, q, qq);
  }
  const F32x16 scale = Quotient(qx, qq);
  return {scale, Mul(scale, qx)};
}

inline void KeepBetter(ScaleFit candidate, ScaleFit& best) {
  const Mask16 better = Less(best.gain, candidate.gain);
  best.scale = Select(better, candidate.scale, best.scale);
  best.gain = Select(better, candidate.gain, best.gain);
}

template <class Grid>
void FitScaleOn(const float* x, const float* w, int n, const Grid& grid, const float* starts,
                int count, float* scale) {
  F32x16 largest = Zero(), extreme = Zero();
  for (int i = 0; i < n; ++i) {
    const F32x16 v = Load(x + 16 * i);
    const Mask16 larger = Less(largest, Abs(v));
    extreme = Select(larger, v, extreme);
    largest = Select(larger, Abs(v), largest);
  }
  const F32x16 unit = Inverse(extreme);
  ScaleFit best = {Zero(), Zero()};
  for (int c = 0; c < count; ++c) {
    KeepBetter(FitCodes(x, w, n, grid, Mul(Set1(starts[c]), unit)), best);
  }
  for (int i = 0; i < 2; ++i) KeepBetter(FitCodes(x, w, n, grid, Inverse(best.scale)), best);
  Store(scale, best.scale);
}

void FitScale(const float* x, const float* w, int n, const CodeGrid& grid, const float* starts,
              int count, float* scale) {
  if (grid.values != nullptr) {
    FitScaleOn(x, w, n, ValueGrid(grid), starts, count, scale);
  } else {
    FitScaleOn(x, w, n, IntegerGrid(grid), starts, count, scale);
  }
}

template <class Grid>
F32x16 ScaleError(const float* x, const float* w, int n, const Grid& grid, F32x16 scale) {
  const F32x16 inverse = Inverse(scale);
  F32x16 error = Zero();
  for (int i = 0; i < n; ++i) {
    const F32x16 v = Load(x + 16 * i);
    const F32x16 off = Sub(Mul(scale, grid(Mul(v, inverse))), v);
    error = Fma(Mul(Load(w + 16 * i), off), off, error);
  }
  return error;
}

template <class Grid>
void ChooseScaleOn(const float* x, const float* w, int n, const Grid& grid, const float* d,
                   float s_low, float s_high, float* s, float* codes, LaneSums* sums) {
  const F32x16 unit = Load(d), near = Load(s);
  F32x16 best = near, best_error = Set1(3e38f);
  const int reach = s_low < s_high ? 1 : 0;
  for (int step = -reach; step <= reach; ++step) {
    const F32x16 candidate =
        Max(Set1(s_low), Min(Set1(s_high), Add(near, Set1(static_cast<float>(step)))));
    const F32x16 error = ScaleError(x, w, n, grid, Mul(unit, candidate));
    const Mask16 better = Less(error, best_error);
    best = Select(better, candidate, best);
    best_error = Select(better, error, best_error);
  }
  const F32x16 inverse = Inverse(Mul(unit, best));
  F32x16 aa = Zero(), ax = Zero();
  for (int i = 0; i < n; ++i) {
    const F32x16 v = Load(x + 16 * i), weight = Load(w + 16 * i);
    const F32x16 q = grid(Mul(v, inverse));
    Store(codes + 16 * i, q);
    const F32x16 a = Mul(best, q), wa = Mul(weight, a);
    aa = Fma(wa, a, aa);
    ax = Fma(wa, v, ax);
  }
  Store(s, best);
  Store(sums->aa, aa);
  Store(sums->ax, ax);
  Store(sums->error, best_error);
}

void ChooseScale(const float* x, const float* w, int n, const CodeGrid& grid, const float* d,
                 float s_low, float s_high, float* s, float* codes, LaneSums* sums) {
  if (grid.values != nullptr) {
    ChooseScaleOn(x, w, n, ValueGrid(grid), d, s_low, s_high, s, codes, sums);
  } else {
    ChooseScaleOn(x, w, n, IntegerGrid(grid), d, s_low, s_high, s, codes, sums);
  }
}

// x about scale * q + offset.
struct AffineFit {
  F32x16 scale, offset, loss;  // the weighted squared error less the part that no fit changes
};

// The sums over a sub-block that no candidate changes.
struct AffineSums {
  F32x16 w, wx;
};

// Least squares of x on (q, 1) for the codes round(x * inverse + shift).
inline AffineFit FitAffineCodes(const float* x, const float* w, int n, F32x16 top, bool free_min,
                                AffineSums all, F32x16 inverse, F32x16 shift) {
  F32x16 q1 = Zero(), qq = Zero(), qx = Zero();
  for (int i = 0; i < n; ++i) {
    const F32x16 v = Load(x + 16 * i);
    const F32x16 q = Round(Max(Zero(), Min(top, Fma(v, inverse, shift))));
    const F32x16 wq = Mul(Load(w + 16 * i), q);
    q1 = Add(q1, wq);
    qq = Fma(wq, q, qq);
    qx = Fma(wq, v, qx);
  }
  const F32x16 determinant = Sub(Mul(all.w, qq), Square(q1));
  F32x16 scale = Quotient(Sub(Mul(all.w, qx), Mul(all.wx, q1)), determinant);
  F32x16 offset = Quotient(Sub(Mul(qq, all.wx), Mul(q1, qx)), determinant);
  if (!free_min) {
    const Mask16 above = Less(Zero(), offset);
    scale = Select(above, Quotient(qx, qq), scale);
    offset = Select(above, Zero(), offset);
  }
  // scale^2 qq + offset^2 w + 2 scale offset q1 - 2 scale qx - 2 offset wx
  const F32x16 half = Sub(Mul(offset, q1), qx);
  F32x16 loss = Mul(scale, Add(Mul(scale, qq), Add(half, half)));
  loss = Add(loss, Mul(offset, Sub(Mul(offset, all.w), Add(all.wx, all.wx))));
  const Mask16 usable = Less(Zero(), scale);
  return {scale, offset, Select(usable, loss, Set1(3e38f))};
}

inline void KeepBetter(AffineFit candidate, AffineFit& best) {
  const Mask16 better = Less(candidate.loss, best.loss);
  best.scale = Select(better, candidate.scale, best.scale);
  best.offset = Select(better, candidate.offset, best.offset);
  best.loss = Select(better, candidate.loss, best.loss);
}

// How far, in steps of the grid, the lowest value is cut off and the range shrunk.
constexpr float kLowCuts[] = {-0.1f, 0.2f, 0.5f};
constexpr float kShrinks[] = {-0.9f, -0.65f, -0.4f, -0.2f, 0.0f, 0.2f, 0.4f, 0.65f, 0.9f};

void FitAffine(const float* x, const float* w, int n, float top, bool free_min, float* scale,
               float* min) {
  F32x16 low = free_min ? Load(x) : Zero(), high = Load(x);
  AffineSums all = {Zero(), Zero()};
  for (int i = 0; i < n; ++i) {
    const F32x16 v = Load(x + 16 * i), weight = Load(w + 16 * i);
    low = Min(low, v);
    high = Max(high, v);
    all.w = Add(all.w, weight);
    all.wx = Fma(weight, v, all.wx);
  }
  const F32x16 range = Sub(high, low), per_range = Inverse(range), most = Set1(top);
  AffineFit best = {Mul(range, Set1(1.0f / top)), low, Set1(3e38f)};
  for (const float shrink : kShrinks) {
    const F32x16 inverse = Mul(Set1(top + shrink), per_range);
    for (const float cut : kLowCuts) {
      const F32x16 shift = Sub(Mul(Sub(Zero(), low), inverse), Set1(cut));
      KeepBetter(FitAffineCodes(x, w, n, most, free_min, all, inverse, shift), best);
    }
  }
  for (int i = 0; i < 2; ++i) {
    const F32x16 inverse = Inverse(best.scale);
    const F32x16 shift = Mul(Sub(Zero(), best.offset), inverse);
    KeepBetter(FitAffineCodes(x, w, n, most, free_min, all, inverse, shift), best);
  }
  Store(scale, best.scale);
  Store(min, Sub(Zero(), best.offset));
}

inline F32x16 AffineError(const float* x, const float* w, int n, F32x16 top, F32x16 scale,
                          F32x16 min) {
  const F32x16 inverse = Inverse(scale), shift = Mul(min, inverse);
  F32x16 error = Zero();
  for (int i = 0; i < n; ++i) {
    const F32x16 v = Load(x + 16 * i);
    const F32x16 q = Round(Max(Zero(), Min(top, Fma(v, inverse, shift))));
    const F32x16 off = Sub(Fma(scale, q, Sub(Zero(), min)), v);
    error = Fma(Mul(Load(w + 16 * i), off), off, error);
  }
  return error;
}

void ChooseAffine(const float* x, const float* w, int n, float top, const float* d,
                  const float* dmin, float s_top, float* s, float* m, float* codes,
                  LaneSums* sums) {
  const F32x16 unit = Load(d), min_unit = Load(dmin), most = Set1(top);
  const F32x16 near_s = Load(s), near_m = Load(m);
  F32x16 best_s = near_s, best_m = near_m, best_error = Set1(3e38f);
  for (int i = -1; i <= 1; ++i) {
    const F32x16 try_s = Max(Zero(), Min(Set1(s_top), Add(near_s, Set1(static_cast<float>(i)))));
    for (int j = -1; j <= 1; ++j) {
      const F32x16 try_m = Max(Zero(), Min(Set1(s_top), Add(near_m, Set1(static_cast<float>(j)))));
      const F32x16 error = AffineError(x, w, n, most, Mul(unit, try_s), Mul(min_unit, try_m));
      const Mask16 better = Less(error, best_error);
      best_s = Select(better, try_s, best_s);
      best_m = Select(better, try_m, best_m);
      best_error = Select(better, error, best_error);
    }
  }
  const F32x16 inverse = Inverse(Mul(unit, best_s));
  const F32x16 shift = Mul(Mul(min_unit, best_m), inverse);
  F32x16 aa = Zero(), a1 = Zero(), ax = Zero(), w1 = Zero(), wx = Zero();
  for (int i = 0; i < n; ++i) {
    const F32x16 v = Load(x + 16 * i), weight = Load(w + 16 * i);
    const F32x16 q = Round(Max(Zero(), Min(most, Fma(v, inverse, shift))));
    Store(codes + 16 * i, q);
    const F32x16 a = Mul(best_s, q), wa = Mul(weight, a);
    aa = Fma(wa, a, aa);
    a1 = Add(a1, wa);
    ax = Fma(wa, v, ax);
    w1 = Add(w1, weight);
    wx = Fma(weight, v, wx);
  }
  Store(s, best_s);
  Store(m, best_m);
  Store(sums->aa, aa);
  Store(sums->am, Mul(a1, best_m));
  Store(sums->mm, Mul(w1, Square(best_m)));
  Store(sums->ax, ax);
  Store(sums->mx, Mul(wx, best_m));
  Store(sums->error, best_error);
}

void AffineCodes(const float* x, int n, float top, const float* scale, const float* min,
                 float* codes) {
  const F32x16 inverse = Inverse(Load(scale)), shift = Mul(Load(min), inverse);
  for (int i = 0; i < n; ++i) {
    const F32x16 t = Fma(Load(x + 16 * i), inverse, shift);
    Store(codes + 16 * i, Round(Max(Zero(), Min(Set1(top), t))));
  }
}

constexpr FitKernels kFitKernels = {Measure,      Transpose,   Weigh,
                                    FitScale,     ChooseScale, FitAffine,
                                    ChooseAffine, AffineCodes, HalvesToFloats};

}  // namespace
}  // namespace millrace
