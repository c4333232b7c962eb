// The formats with integer scales and one float scale per 256 on 256-bit vectors; see
// matmul_avx2_integer.h.
#pragma once

#include "quantization/matmul_avx2_small.h"

namespace millrace {
namespace {

// Scales and minimums of Q4_K and Q5_K: three dwords per row, a row per lane.
MILLRACE_INLINE void ExpandAffineScales(const uint8_t* p, Group& group) {
  const __m256i six = _mm256_set1_epi8(0x3f), four = _mm256_set1_epi8(0x0f);
  const __m256i top = _mm256_set1_epi8(0x30), pair = _mm256_set1_epi32(0x00ff00ff);
  ExpandHalves(p + kAffineD, group.d[0]);
  ExpandHalves(p + kAffineMin, group.dmin[0]);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* at = p + kAffineScales + 32 * half;
    const __m256i s0 = Load(at), s1 = Load(at + 64), s2 = Load(at + 128);
    const __m256i low_scales = _mm256_and_si256(s0, six);
    const __m256i low_mins = _mm256_and_si256(s1, six);
    const __m256i high_scales = _mm256_or_si256(_mm256_and_si256(s2, four),
                                                _mm256_and_si256(_mm256_srli_epi32(s0, 2), top));
    const __m256i high_mins = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi32(s2, 4), four),
                                              _mm256_and_si256(_mm256_srli_epi32(s1, 2), top));
    for (int s = 0; s < 8; ++s) {
      const __m256i scales =
          _mm256_srl_epi32(s < 4 ? low_scales : high_scales, _mm_cvtsi32_si128(s % 4 * 8));
      const __m256i scale = _mm256_and_si256(scales, _mm256_set1_epi32(0xff));
      Store(group.scales[s] + 8 * half, TwiceInt16(scale));
    }
    Store(group.mins[0] + 8 * half, _mm256_and_si256(low_mins, pair));
    Store(group.mins[1] + 8 * half, _mm256_and_si256(_mm256_srli_epi32(low_mins, 8), pair));
    Store(group.mins[2] + 8 * half, _mm256_and_si256(high_mins, pair));
    Store(group.mins[3] + 8 * half, _mm256_and_si256(_mm256_srli_epi32(high_mins, 8), pair));
  }
}

// The nibbles of Q4_K and Q5_K: 64 half-vectors of eight rows.
MILLRACE_INLINE void ExpandNibbles(const uint8_t* p, Group& group) {
  const __m256i four = _mm256_set1_epi8(15);
  for (int i = 0; i < 64; ++i) {
    const __m256i both = Load(p + 32 * i);
    uint8_t* to = group.codes[i / 16 * 16] + i % 16 * 32;
    Store(to, _mm256_and_si256(both, four));
    Store(to + 8 * 64, _mm256_and_si256(_mm256_srli_epi32(both, 4), four));
  }
}

struct Q4_K {
  static constexpr bool kSigned = false, kSmall = false;
  static constexpr Mins kMins = Mins::kPairs;
  static constexpr int kDwords = 8, kRun = 8;  // 8 * 2 * 15 * 127 = 30480
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ4KGroupBytes;
    ExpandAffineScales(p, group);
    ExpandNibbles(p + kAffineRest, group);
  }
};

struct Q5_K {
  static constexpr bool kSigned = false, kSmall = false;
  static constexpr Mins kMins = Mins::kPairs;
  static constexpr int kDwords = 8, kRun = 4;  // 4 * 2 * 31 * 127 = 31496
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ5KGroupBytes;
    const __m256i one = _mm256_set1_epi8(1);
    ExpandAffineScales(p, group);
    ExpandNibbles(p + kAffineRest + 512, group);
    for (int i = 0; i < 16; ++i) {
      __m256i high = Load(p + kAffineRest + 32 * i);
      for (int s = 0; s < 8; ++s, high = _mm256_srli_epi32(high, 1)) {
        uint8_t* code = group.codes[8 * s] + 32 * i;
        const __m256i bit = _mm256_slli_epi32(_mm256_and_si256(high, one), 4);
        Store(code, _mm256_or_si256(Load(code), bit));
      }
    }
  }
};

struct Q6_K {
  static constexpr bool kSigned = true, kSmall = false;
  static constexpr Mins kMins = Mins::kNone;
  static constexpr int kDwords = 4, kRun = 2;  // 2 * 2 * 32 * 127 = 16256
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + (a.groups * 32 + 63) / 64 * 64 + index * kQ6GroupBytes;
    const __m256i four = _mm256_set1_epi8(15), two = _mm256_set1_epi8(3);
    const __m256i offset = _mm256_set1_epi8(32);
    ExpandHalves(a.panel + index * 32, group.d[0]);
    for (int i = 0; i < 32; ++i) {
      const __m128i bytes =
          _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + kQ6Scales + 8 * i));
      Store(group.scales[0] + 8 * i, TwiceInt16(_mm256_cvtepi8_epi32(bytes)));
    }
    for (int h = 0; h < 2; ++h) {
      for (int i = 0; i < 16; ++i) {
        const __m256i low[2] = {Load(p + h * 1024 + 32 * i), Load(p + h * 1024 + 512 + 32 * i)};
        __m256i high = Load(p + kQ6High + h * 512 + 32 * i);
        for (int q = 0; q < 4; ++q, high = _mm256_srli_epi32(high, 2)) {
          const __m256i nibble = q < 2 ? low[q % 2] : _mm256_srli_epi32(low[q % 2], 4);
          const __m256i top = _mm256_slli_epi32(_mm256_and_si256(high, two), 4);
          const __m256i code = _mm256_or_si256(_mm256_and_si256(nibble, four), top);
          Store(group.codes[h * 32 + q * 8] + 32 * i, _mm256_sub_epi8(code, offset));
        }
      }
    }
  }
};

// The low two bits of the codes of Q2_K and Q3_K: calls use(dword, half, codes) for all of them.
template <class Use>
MILLRACE_INLINE void ForEachCrumb(const uint8_t* codes, const Use& use) {
  const __m256i two = _mm256_set1_epi8(3);
  for (int h = 0; h < 2; ++h) {
    for (int i = 0; i < 16; ++i) {
      __m256i all = Load(codes + h * 512 + 32 * i);
      for (int q = 0; q < 4; ++q, all = _mm256_srli_epi32(all, 2)) {
        use(h * 32 + q * 8 + i / 2, i % 2, _mm256_and_si256(all, two));
      }
    }
  }
}

struct Q2_K {
  static constexpr bool kSigned = false, kSmall = false;
  static constexpr Mins kMins = Mins::kSixteens;
  static constexpr int kDwords = 4, kRun = 4;  // 4 * 2 * 3 * 127 = 3048
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ2KGroupBytes;
    const __m256i four = _mm256_set1_epi32(15);
    ExpandHalves(p + kAffineD, group.d[0]);
    ExpandHalves(p + kAffineMin, group.dmin[0]);
    for (int i = 0; i < 32; ++i) {
      const __m256i both = _mm256_cvtepu8_epi32(
          _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + kQ2Scales + 8 * i)));
      Store(group.scales[0] + 8 * i, TwiceInt16(_mm256_and_si256(both, four)));
      Store(group.mins[0] + 8 * i, _mm256_srli_epi32(both, 4));
    }
    ForEachCrumb(p + kQ2Codes, [&](int dword, int half, __m256i low) {
      Store(group.codes[dword] + 32 * half, low);
    });
  }
};

struct Q3_K {
  static constexpr bool kSigned = true, kSmall = false;
  static constexpr Mins kMins = Mins::kNone;
  static constexpr int kDwords = 4, kRun = 4;  // 4 * 2 * 4 * 127 = 4064
  static void ExpandScales(const uint8_t* p, Group& group) {
    const __m256i four = _mm256_set1_epi8(0x0f), top = _mm256_set1_epi8(0x30);
    for (int half = 0; half < 2; ++half) {
      const __m256i tops = Load(p + 128 + 32 * half);
      for (int part = 0; part < 4; ++part) {  // scales 4 * part to 4 * part + 3
        const __m256i lows = Load(p + part % 2 * 64 + 32 * half);
        const __m256i low = _mm256_and_si256(part < 2 ? lows : _mm256_srli_epi32(lows, 4), four);
        // Bits 2 * part and 2 * part + 1 of every byte come to bits 4 and 5.
        const __m256i high = part < 2 ? _mm256_slli_epi32(tops, 4 - 2 * part)
                                      : _mm256_srli_epi32(tops, 2 * part - 4);
        const __m256i bytes = _mm256_sub_epi8(_mm256_or_si256(low, _mm256_and_si256(high, top)),
                                              _mm256_set1_epi8(32));
        for (int i = 0; i < 4; ++i) {
          const __m256i scale = _mm256_srai_epi32(_mm256_slli_epi32(bytes, 24 - 8 * i), 24);
          Store(group.scales[4 * part + i] + 8 * half, TwiceInt16(scale));
        }
      }
    }
  }
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + (a.groups * 32 + 63) / 64 * 64 + index * kQ3KGroupBytes;
    const __m256i four = _mm256_set1_epi8(4), one = _mm256_set1_epi8(1);
    ExpandHalves(a.panel + index * 32, group.d[0]);
    ExpandScales(p + kQ3Scales, group);
    ForEachCrumb(p + kQ3Codes, [&](int dword, int half, __m256i low) {
      // Bit dword / 8 of the bytes of high bits is worth 4; four are taken away.
      const __m256i all = Load(p + dword % 8 * 64 + 32 * half);
      const __m256i bit =
          _mm256_and_si256(_mm256_srl_epi32(all, _mm_cvtsi32_si128(dword / 8)), one);
      const __m256i code = _mm256_or_si256(low, _mm256_slli_epi32(bit, 2));
      Store(group.codes[dword] + 32 * half, _mm256_sub_epi8(code, four));
    });
  }
};

struct IQ4_XS {
  static constexpr bool kSigned = true, kSmall = false;
  static constexpr Mins kMins = Mins::kNone;
  static constexpr int kDwords = 8, kRun = 1;  // 2 * 127 * 127 = 32258
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kIq4XsGroupBytes;
    ExpandHalves(p, group.d[0]);
    for (int half = 0; half < 2; ++half) {
      const __m256i lows = Load(p + kIq4XsLow + 32 * half);
      const __m256i tops = _mm256_cvtepu16_epi32(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + kIq4XsHigh + 16 * half)));
      for (int b = 0; b < 8; ++b) {
        const __m256i low = _mm256_and_si256(_mm256_srl_epi32(lows, _mm_cvtsi32_si128(4 * b)),
                                             _mm256_set1_epi32(15));
        const __m256i top = _mm256_and_si256(_mm256_srl_epi32(tops, _mm_cvtsi32_si128(2 * b)),
                                             _mm256_set1_epi32(3));
        const __m256i scale = _mm256_sub_epi32(_mm256_or_si256(low, _mm256_slli_epi32(top, 4)),
                                               _mm256_set1_epi32(32));
        Store(group.scales[b] + 8 * half, TwiceInt16(scale));
      }
    }
    for (int b = 0; b < 8; ++b) {
      ExpandTable(p + kIq4XsCodes + b * 256, Table(kIq4Values), group.codes[8 * b]);
    }
  }
};

}  // namespace
}  // namespace millrace
