// The tables of AVX2 and AVX-VNNI kernels, the float formats and the quantisation of activations.
#include "quantization/matmul_avx2.h"

#include <immintrin.h>

namespace millrace {
namespace {

#define MILLRACE_INLINE inline __attribute__((always_inline))

constexpr int64_t kLanes = 16;

// Weights k (and k + 1 unless it is beyond K) of eight rows, those from lane 8 * half on; k is
// even.
struct WeightPair {
  __m256 even;
  __m256 odd;
};

struct F32 {
  MILLRACE_INLINE static WeightPair At(const uint8_t* panel, int64_t k, int half, bool last) {
    const float* p = reinterpret_cast<const float*>(panel) + k * kLanes + 8 * half;
    return {_mm256_loadu_ps(p), last ? _mm256_setzero_ps() : _mm256_loadu_ps(p + kLanes)};
  }
};

struct F16 {
  MILLRACE_INLINE static __m256 Halves(const uint8_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  MILLRACE_INLINE static WeightPair At(const uint8_t* panel, int64_t k, int half, bool last) {
    const uint8_t* p = panel + k * 2 * kLanes + 16 * half;
    return {Halves(p), last ? _mm256_setzero_ps() : Halves(p + 2 * kLanes)};
  }
};

struct BF16 {
  MILLRACE_INLINE static WeightPair At(const uint8_t* panel, int64_t k, int half, bool) {
    const __m256i pair =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(panel + k * 2 * kLanes + 32 * half));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(pair, 16)),
            _mm256_castsi256_ps(_mm256_and_si256(pair, _mm256_set1_epi32(-65536)))};
  }
};

// C columns from `first` on, eight rows: y [C][16].
template <class Format, int C>
__attribute__((noinline)) void FloatTile(const PanelArgs& a, int64_t first, int half, float* y) {
  const float* x[C];
  __m256 total[C];
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) {
    x[c] = a.x + (first + c) * a.x_stride;
    total[c] = _mm256_setzero_ps();
  }
  for (int64_t begin = 0; begin < a.columns; begin += kActivationGroup) {
    const int64_t rest = a.columns - begin;
    const int64_t end = begin + (rest < kActivationGroup ? rest : kActivationGroup);
    __m256 even[C], odd[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) even[c] = odd[c] = _mm256_setzero_ps();
    int64_t k = begin;
    for (; k + 1 < end; k += 2) {
      const WeightPair w = Format::At(a.panel, k, half, false);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        even[c] = _mm256_fmadd_ps(_mm256_set1_ps(x[c][k]), w.even, even[c]);
        odd[c] = _mm256_fmadd_ps(_mm256_set1_ps(x[c][k + 1]), w.odd, odd[c]);
      }
    }
    if (k < end) {
      const WeightPair w = Format::At(a.panel, k, half, true);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        even[c] = _mm256_fmadd_ps(_mm256_set1_ps(x[c][k]), w.even, even[c]);
      }
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      total[c] = _mm256_add_ps(total[c], _mm256_add_ps(even[c], odd[c]));
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) _mm256_storeu_ps(y + c * kLanes + 8 * half, total[c]);
}

template <class Format>
void FloatPanel(const PanelArgs& a) {
  using Tile = void (*)(const PanelArgs&, int64_t, int, float*);
  static constexpr Tile kTiles[] = {FloatTile<Format, 1>, FloatTile<Format, 2>,
                                    FloatTile<Format, 3>, FloatTile<Format, 4>};
  alignas(32) float y[4 * kLanes];
  for (int64_t first = 0; first < a.m; first += 4) {
    const int64_t count = a.m - first < 4 ? a.m - first : 4;
    kTiles[count - 1](a, first, 0, y);
    kTiles[count - 1](a, first, 1, y);
    for (int64_t c = 0; c < count; ++c) {
      for (int64_t r = 0; r < a.valid_rows; ++r) {
        a.y[(first + c) * a.y_stride + r] = y[c * kLanes + r];
      }
    }
  }
}

// max|x| / 127 of a whole group, NaN if one is not finite; by the magnitudes' bits, as the scalar
// twin.
MILLRACE_INLINE float GroupScale(const float* x, int64_t group) {
  __m256i largest = _mm256_setzero_si256();
  for (int64_t k = 0; k < group; k += 8) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + k));
    largest = _mm256_max_epi32(largest, _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)));
  }
  __m128i most =
      _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
  most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0x4e));
  most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0xb1));
  if (_mm_cvtsi128_si32(most) >= 0x7f800000) return __builtin_nanf("");
  return _mm_cvtss_f32(_mm_castsi128_ps(most)) / 127.0f;
}

// Eight codes; rounds half to even, the default mode, as nearbyint does in the scalar twin.
MILLRACE_INLINE __m256i CodesOf(const float* x, __m256 scale) {
  const __m256 ratio = _mm256_div_ps(_mm256_loadu_ps(x), scale);
  const __m256 bound = _mm256_set1_ps(127.0f), low = _mm256_set1_ps(-127.0f);
  return _mm256_cvtps_epi32(_mm256_max_ps(_mm256_min_ps(ratio, bound), low));
}

MILLRACE_INLINE void QuantizeGroup(const float* x, int64_t group, float d, int8_t* values,
                                   int16_t* sums) {
  const __m256 scale = _mm256_set1_ps(d);
  for (int64_t k = 0; k < group; k += 16) {
    const __m256i a = CodesOf(x + k, scale), b = CodesOf(x + k + 8, scale);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    const __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(values + k), _mm_packs_epi16(low, high));
    __m128i sum = _mm_madd_epi16(_mm_add_epi16(low, high), _mm_set1_epi16(1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    sums[k / 16] = static_cast<int16_t>(_mm_cvtsi128_si32(sum));
  }
}

void QuantizeActivations(const float* x, int64_t columns, int64_t padded, int64_t group,
                         int8_t* values, float* scales, int16_t* sums) {
  float tail[kActivationGroup];
  for (int64_t begin = 0; begin < padded; begin += group) {
    const float* from = x + begin;
    if (columns - begin < group) {
      for (int64_t k = 0; k < group; ++k) tail[k] = begin + k < columns ? x[begin + k] : 0.0f;
      from = tail;
    }
    const float d = GroupScale(from, group);
    scales[begin / group] = d;
    if (d > 0.0f) {
      QuantizeGroup(from, group, d, values + begin, sums + begin / 16);
    } else {  // all zero, or not finite
      for (int64_t k = 0; k < group; ++k) values[begin + k] = 0;
      for (int64_t s = 0; s < group / 16; ++s) sums[begin / 16 + s] = 0;
    }
  }
}

}  // namespace

const MatMulKernels kAvx2MatMulKernels = {
    .quantize_activations = QuantizeActivations,
    .by_type =
        {
            {DType::kF32, FloatPanel<F32>},
            {DType::kF16, FloatPanel<F16>},
            {DType::kBF16, FloatPanel<BF16>},
            {DType::kQ8_0, avx2::PanelQ8_0},
            {DType::kQ4_0, avx2::PanelQ4_0},
            {DType::kQ4_K, avx2::PanelQ4_K},
            {DType::kQ5_K, avx2::PanelQ5_K},
            {DType::kQ6_K, avx2::PanelQ6_K},
            {DType::kQ4_1, avx2::PanelQ4_1},
            {DType::kQ5_0, avx2::PanelQ5_0},
            {DType::kQ5_1, avx2::PanelQ5_1},
            {DType::kQ2_K, avx2::PanelQ2_K},
            {DType::kQ3_K, avx2::PanelQ3_K},
            {DType::kIQ4_NL, avx2::PanelIQ4_NL},
            {DType::kIQ4_XS, avx2::PanelIQ4_XS},
            {DType::kMXFP4, avx2::PanelMXFP4},
        },
};

const MatMulKernels kAvxVnniMatMulKernels = {
    .quantize_activations = QuantizeActivations,
    .by_type =
        {
            {DType::kF32, FloatPanel<F32>},
            {DType::kF16, FloatPanel<F16>},
            {DType::kBF16, FloatPanel<BF16>},
            {DType::kQ8_0, avxvnni::PanelQ8_0},
            {DType::kQ4_0, avxvnni::PanelQ4_0},
            {DType::kQ4_K, avxvnni::PanelQ4_K},
            {DType::kQ5_K, avxvnni::PanelQ5_K},
            {DType::kQ6_K, avxvnni::PanelQ6_K},
            {DType::kQ4_1, avxvnni::PanelQ4_1},
            {DType::kQ5_0, avxvnni::PanelQ5_0},
            {DType::kQ5_1, avxvnni::PanelQ5_1},
            {DType::kQ2_K, avxvnni::PanelQ2_K},
            {DType::kQ3_K, avxvnni::PanelQ3_K},
            {DType::kIQ4_NL, avxvnni::PanelIQ4_NL},
            {DType::kIQ4_XS, avxvnni::PanelIQ4_XS},
            {DType::kMXFP4, avxvnni::PanelMXFP4},
        },
};

}  // namespace millrace
