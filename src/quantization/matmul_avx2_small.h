// The formats with a float scale per 32 on 256-bit vectors; see matmul_avx2_integer.h.
#pragma once

#include "quantization/matmul_avx2_integer.h"

namespace millrace {
namespace {

MILLRACE_INLINE int BlocksOf(const PanelArgs& a, int64_t group) {
  const int64_t rest = a.columns / 32 - group * 8;
  return static_cast<int>(rest < 8 ? rest : 8);
}

MILLRACE_INLINE __m256i Table(const int8_t values[16]) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(values)));
}

// The 16 bytes of a block (64 of sixteen rows per dword): low nibbles first, then high ones.
struct Nibbles {
  __m256i low;
  __m256i high;
};
MILLRACE_INLINE Nibbles NibblesAt(const uint8_t* p) {
  const __m256i both = Load(p), four = _mm256_set1_epi8(15);
  return {_mm256_and_si256(both, four), _mm256_and_si256(_mm256_srli_epi32(both, 4), four)};
}

struct Q8_0 {
  static constexpr bool kSigned = true, kSmall = true;
  static constexpr Mins kMins = Mins::kNone;
  static constexpr int kDwords = 8, kRun = 1;  // 2 * 128 * 127 = 32512
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ8GroupBytes;
    const __m256i sign = _mm256_set1_epi8(-128);
    group.blocks = BlocksOf(a, index);
    for (int b = 0; b < group.blocks; ++b) ExpandHalves(p + 32 * b, group.d[b]);
    for (int64_t i = 0; i < group.blocks * 16; ++i) {
      Store(group.codes[0] + 32 * i, _mm256_xor_si256(Load(p + kSmallCodes + 32 * i), sign));
    }
  }
};

struct Q4_0 {
  static constexpr bool kSigned = true, kSmall = true;
  static constexpr Mins kMins = Mins::kNone;
  static constexpr int kDwords = 8, kRun = 8;  // 8 * 2 * 8 * 127 = 16256
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ4GroupBytes;
    const __m256i eight = _mm256_set1_epi8(8);
    group.blocks = BlocksOf(a, index);
    for (int b = 0; b < group.blocks; ++b) {
      ExpandHalves(p + 32 * b, group.d[b]);
      for (int i = 0; i < 8; ++i) {
        const Nibbles n = NibblesAt(p + kSmallCodes + b * 256 + 32 * i);
        Store(group.codes[8 * b] + 32 * i, _mm256_sub_epi8(n.low, eight));
        Store(group.codes[8 * b + 4] + 32 * i, _mm256_sub_epi8(n.high, eight));
      }
    }
  }
};

struct Q4_1 {
  static constexpr bool kSigned = false, kSmall = true;
  static constexpr Mins kMins = Mins::kBlocks;
  static constexpr int kDwords = 8, kRun = 8;  // 8 * 2 * 15 * 127 = 30480
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ41GroupBytes;
    group.blocks = BlocksOf(a, index);
    for (int b = 0; b < group.blocks; ++b) {
      ExpandHalves(p + 32 * b, group.d[b]);
      ExpandHalves(p + kSmallMins + 32 * b, group.dmin[b]);
      for (int i = 0; i < 8; ++i) {
        const Nibbles n = NibblesAt(p + kSmallMinCodes + b * 256 + 32 * i);
        Store(group.codes[8 * b] + 32 * i, n.low);
        Store(group.codes[8 * b + 4] + 32 * i, n.high);
      }
    }
  }
};

// One block of Q5_0 or Q5_1: 64 bytes of high bits, then nibbles; codes 0 to 31, less `offset`.
MILLRACE_INLINE void ExpandFiveBits(const uint8_t* block, __m256i offset, uint8_t* codes) {
  const __m256i sixteen = _mm256_set1_epi8(16);
  const __m256i low_bits = _mm256_set1_epi32(0x08040201);
  const __m256i high_bits = _mm256_slli_epi32(low_bits, 4);
  for (int half = 0; half < 2; ++half) {
    const __m256i high = Load(block + 32 * half);
    for (int t = 0; t < 8; ++t) {
      const Nibbles n = NibblesAt(block + 64 + t % 4 * 64 + 32 * half);
      // Dword t of a row takes the bits 4t to 4t + 3: byte t / 2, four times.
      const __m256i byte = _mm256_set1_epi32(0x01010101 * (t / 2));
      const __m256i row = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404,
                                            0x08080808, 0x0c0c0c0c);
      const __m256i copies = _mm256_shuffle_epi8(high, _mm256_add_epi8(row, byte));
      const __m256i bit = t % 2 == 0 ? low_bits : high_bits;
      const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(copies, bit), bit);
      const __m256i code = _mm256_or_si256(t < 4 ? n.low : n.high, _mm256_and_si256(set, sixteen));
      Store(codes + 64 * t + 32 * half, _mm256_sub_epi8(code, offset));
    }
  }
}

struct Q5_0 {
  static constexpr bool kSigned = true, kSmall = true;
  static constexpr Mins kMins = Mins::kNone;
  static constexpr int kDwords = 8, kRun = 8;  // 8 * 2 * 16 * 127 = 32512
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ50GroupBytes;
    group.blocks = BlocksOf(a, index);
    for (int b = 0; b < group.blocks; ++b) {
      ExpandHalves(p + 32 * b, group.d[b]);
      ExpandFiveBits(p + kSmallCodes + b * kQ5BlockBytes, _mm256_set1_epi8(16), group.codes[8 * b]);
    }
  }
};

struct Q5_1 {
  static constexpr bool kSigned = false, kSmall = true;
  static constexpr Mins kMins = Mins::kBlocks;
  static constexpr int kDwords = 8, kRun = 4;  // 4 * 2 * 31 * 127 = 31496
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ51GroupBytes;
    group.blocks = BlocksOf(a, index);
    for (int b = 0; b < group.blocks; ++b) {
      ExpandHalves(p + 32 * b, group.d[b]);
      ExpandHalves(p + kSmallMins + 32 * b, group.dmin[b]);
      ExpandFiveBits(p + kSmallMinCodes + b * kQ5BlockBytes, _mm256_setzero_si256(),
                     group.codes[8 * b]);
    }
  }
};

// One block of 16 bytes whose nibbles are looked up.
MILLRACE_INLINE void ExpandTable(const uint8_t* block, __m256i table, uint8_t* codes) {
  for (int i = 0; i < 8; ++i) {
    const Nibbles n = NibblesAt(block + 32 * i);
    Store(codes + 32 * i, _mm256_shuffle_epi8(table, n.low));
    Store(codes + 256 + 32 * i, _mm256_shuffle_epi8(table, n.high));
  }
}

struct IQ4_NL {
  static constexpr bool kSigned = true, kSmall = true;
  static constexpr Mins kMins = Mins::kNone;
  static constexpr int kDwords = 8, kRun = 1;  // 2 * 127 * 127 = 32258
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ4GroupBytes;
    group.blocks = BlocksOf(a, index);
    for (int b = 0; b < group.blocks; ++b) {
      ExpandHalves(p + 32 * b, group.d[b]);
      ExpandTable(p + kSmallCodes + b * 256, Table(kIq4Values), group.codes[8 * b]);
    }
  }
};

struct MXFP4 {
  static constexpr bool kSigned = true, kSmall = true;
  static constexpr Mins kMins = Mins::kNone;
  static constexpr int kDwords = 8, kRun = 8;  // 8 * 2 * 12 * 127 = 24384
  // 2^(e - 128) for eight rows; the two smallest are denormal.
  MILLRACE_INLINE static __m256i Scales(const uint8_t* exponents) {
    const __m256i e =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(exponents)));
    const __m256i one = _mm256_set1_epi32(1);
    const __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    const __m256i usual = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);
    return _mm256_blendv_epi8(tiny, usual, _mm256_cmpgt_epi32(e, one));
  }
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kMxfp4GroupBytes;
    group.blocks = BlocksOf(a, index);
    for (int b = 0; b < group.blocks; ++b) {
      for (int h = 0; h < 2; ++h) Store(group.d[b] + 8 * h, Scales(p + 16 * b + 8 * h));
      ExpandTable(p + kMxfp4Codes + b * 256, Table(kMxfp4Values), group.codes[8 * b]);
    }
  }
};

}  // namespace
}  // namespace millrace
