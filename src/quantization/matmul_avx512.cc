// The table of AVX-512 kernels, the float formats and the quantisation of activations.
#include "quantization/matmul_avx512.h"

#include "quantization/matmul_avx512_common.h"

namespace millrace {
namespace {

// Weights k and k + 1 of sixteen rows; k is even. `last` says that k + 1 is beyond K.
struct WeightPair {
  __m512 even;
  __m512 odd;
};

struct F32 {
  MILLRACE_INLINE static WeightPair At(const uint8_t* panel, int64_t k, bool last) {
    const float* p = reinterpret_cast<const float*>(panel) + k * kLanes;
    return {_mm512_loadu_ps(p), last ? _mm512_setzero_ps() : _mm512_loadu_ps(p + kLanes)};
  }
};

struct F16 {
  MILLRACE_INLINE static WeightPair At(const uint8_t* panel, int64_t k, bool last) {
    const uint8_t* p = panel + k * 2 * kLanes;
    return {LoadHalves(p), last ? _mm512_setzero_ps() : LoadHalves(p + 2 * kLanes)};
  }
};

struct BF16 {
  MILLRACE_INLINE static WeightPair At(const uint8_t* panel, int64_t k, bool) {
    const __m512i pair = Load(panel + k * 2 * kLanes);
    return {_mm512_castsi512_ps(_mm512_slli_epi32(pair, 16)),
            _mm512_castsi512_ps(_mm512_and_si512(pair, _mm512_set1_epi32(-65536)))};
  }
};

template <class Format, int C>
__attribute__((noinline)) void FloatTile(const PanelArgs& a, int64_t first) {
  const float* x[C];
  alignas(64) float y[C * kLanes];
  Clear(y, C);
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) x[c] = a.x + (first + c) * a.x_stride;
  for (int64_t begin = 0; begin < a.columns; begin += kActivationGroup) {
    const int64_t rest = a.columns - begin;
    const int64_t end = begin + (rest < kActivationGroup ? rest : kActivationGroup);
    __m512 even[C], odd[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) even[c] = odd[c] = _mm512_setzero_ps();
    int64_t k = begin;
#pragma GCC unroll 1
    for (; k + 1 < end; k += 2) {
      const WeightPair w = Format::At(a.panel, k, false);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        even[c] = _mm512_fmadd_ps(_mm512_set1_ps(x[c][k]), w.even, even[c]);
        odd[c] = _mm512_fmadd_ps(_mm512_set1_ps(x[c][k + 1]), w.odd, odd[c]);
      }
    }
    if (k < end) {
      const WeightPair w = Format::At(a.panel, k, true);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        even[c] = _mm512_fmadd_ps(_mm512_set1_ps(x[c][k]), w.even, even[c]);
      }
    }
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const __m512 sum = _mm512_add_ps(even[c], odd[c]);
      _mm512_store_ps(y + c * kLanes, _mm512_add_ps(_mm512_load_ps(y + c * kLanes), sum));
    }
  }
  StoreRows(a, y, first, C, 0, a.valid_rows);
}

template <class Format>
void FloatPanel(const PanelArgs& a) {
  using Tile = void (*)(const PanelArgs&, int64_t);
  static constexpr Tile kTiles[] = {
      FloatTile<Format, 1>, FloatTile<Format, 2>, FloatTile<Format, 3>, FloatTile<Format, 4>,
      FloatTile<Format, 5>, FloatTile<Format, 6>, FloatTile<Format, 7>, FloatTile<Format, 8>};
  for (int64_t first = 0; first < a.m; first += 8) {
    const int64_t rest = a.m - first;
    kTiles[(rest < 8 ? rest : 8) - 1](a, first);
  }
}

MILLRACE_INLINE __m512 LoadFloats(const float* x, int64_t count) {
  if (count >= kLanes) return _mm512_loadu_ps(x);
  if (count <= 0) return _mm512_setzero_ps();
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1u), x);
}

// max|x| / 127 of `count` floats, NaN if one is not finite; by the magnitudes' bits, as the scalar
// twin.
MILLRACE_INLINE float GroupScale(const float* x, int64_t count) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i largest = _mm512_setzero_si512();
  for (int64_t k = 0; k < count; k += kLanes) {
    const __m512i bits = _mm512_castps_si512(LoadFloats(x + k, count - k));
    largest = _mm512_max_epi32(largest, _mm512_and_si512(bits, magnitude));
  }
  const int32_t most = _mm512_reduce_max_epi32(largest);
  if (most >= 0x7f800000) return __builtin_nanf("");
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(most))) / 127.0f;
}

// Sixteen codes; rounds half to even, the default mode, as nearbyint does in the scalar twin.
MILLRACE_INLINE __m512i CodesOf(const float* x, int64_t count, __m512 scale) {
  const __m512 ratio = _mm512_div_ps(LoadFloats(x, count), scale);
  const __m512 bound = _mm512_set1_ps(127.0f);
  return _mm512_cvtps_epi32(
      _mm512_max_ps(_mm512_min_ps(ratio, bound), _mm512_sub_ps(_mm512_setzero_ps(), bound)));
}

void QuantizeActivations(const float* x, int64_t columns, int64_t padded, int64_t group,
                         int8_t* values, float* scales, int16_t* sums) {
  for (int64_t begin = 0; begin < padded; begin += group) {
    const int64_t rest = columns - begin;
    const float d = GroupScale(x + begin, rest < group ? rest : group);
    scales[begin / group] = d;
    // Zero and NaN scales give codes of 0: dividing zeros by 1 does that without a branch per
    // element.
    const bool usable = d > 0.0f;
    const __m512 scale = _mm512_set1_ps(usable ? d : 1.0f);
    for (int64_t k = begin; k < begin + group; k += kLanes) {
      const __m512i q = CodesOf(x + k, usable ? columns - k : 0, scale);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(values + k), _mm512_cvtepi32_epi8(q));
      sums[k / 16] = static_cast<int16_t>(_mm512_reduce_add_epi32(q));
    }
  }
}

// Sixteen chains hide the dot product's latency at two per cycle.
int64_t Int8Peak(int64_t steps) {
  __m512i chain[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) chain[i] = _mm512_set1_epi32(i);
  __m512i codes = _mm512_set1_epi8(3), x = _mm512_set1_epi8(1);
#pragma GCC unroll 1
  for (int64_t s = 0; s < steps; ++s) {
    asm volatile("" : "+v"(codes), "+v"(x));  // or the compiler would hoist the products
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) chain[i] = _mm512_dpbusd_epi32(chain[i], codes, x);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) asm volatile("" : : "v"(chain[i]));
  return steps * 16 * 64;
}

}  // namespace

const MatMulKernels kAvx512MatMulKernels = {
    .quantize_activations = QuantizeActivations,
    .int8_peak = Int8Peak,
    .by_type =
        {
            {DType::kF32, FloatPanel<F32>},
            {DType::kF16, FloatPanel<F16>},
            {DType::kBF16, FloatPanel<BF16>},
            {DType::kQ8_0, avx512::PanelsQ8_0, kPanelsTogether},
            {DType::kQ4_0, avx512::PanelsQ4_0, kPanelsTogether},
            {DType::kQ4_K, avx512::PanelsQ4_K, kPanelsTogether},
            {DType::kQ5_K, avx512::PanelsQ5_K, kPanelsTogether},
            {DType::kQ6_K, avx512::PanelsQ6_K, kPanelsTogether},
            {DType::kQ4_1, avx512::PanelsQ4_1, kPanelsTogether},
            {DType::kQ5_0, avx512::PanelsQ5_0, kPanelsTogether},
            {DType::kQ5_1, avx512::PanelsQ5_1, kPanelsTogether},
            {DType::kQ2_K, avx512::PanelsQ2_K, kPanelsTogether},
            {DType::kQ3_K, avx512::PanelsQ3_K, kPanelsTogether},
            {DType::kIQ4_NL, avx512::PanelsIQ4_NL, kPanelsTogether},
            {DType::kIQ4_XS, avx512::PanelsIQ4_XS, kPanelsTogether},
            {DType::kMXFP4, avx512::PanelsMXFP4, kPanelsTogether},
        },
};

}  // namespace millrace
