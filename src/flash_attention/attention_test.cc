#include "flash_attention/attention.h"

#include <gtest/gtest.h>

#include <string>

#include "flash_attention/attention_test_util.h"

namespace millrace {
namespace {

struct AccuracyCase {
  TestShape shape;
  int32_t length;
  std::optional<float> softcap;
  std::optional<int32_t> window;
  AttentionMask mask = AttentionMask::kCausal;
};

std::vector<AccuracyCase> AccuracyCases() {
  std::vector<AccuracyCase> cases;
  for (KvType type : kKvTypes) {
    for (int32_t dim : {16, 32, 64, 80, 96, 128, 256})
      cases.push_back({{2, 2, dim, type}, 70, {}, {}});
    cases.push_back({{1, 2, 10, type}, 40, {}, {}});  // no multiple of 16
    for (int32_t group : {1, 2, 4, 7, 8, 13}) cases.push_back({{2, group, 32, type}, 65, {}, {}});
    for (int32_t length : {1, 31, 32, 33, 255, 256, 257, 511, 512, 513, 1000}) {
      cases.push_back({{1, 2, 16, type}, length, {}, {}});
    }
    cases.push_back({{2, 4, 64, type}, 300, 5.0f, {}});
    cases.push_back({{2, 4, 64, type}, 300, 50.0f, 40});
    for (int32_t window : {1, 2, 33, 64, 255, 256, 300})
      cases.push_back({{1, 2, 32, type}, 600, {}, window});
    for (int32_t length : {1, 32, 33, 256, 257, 515})
      cases.push_back({{2, 1, 32, type}, length, {}, {}, AttentionMask::kAll});
  }
  return cases;
}

// Prints the worst error against float64, absolute and in units of its bound.
void CheckAccuracy(Isa isa, Method method, KvType type) {
  ThreadPool pool(2);
  double worst = 0, worst_ratio = 0;
  for (const AccuracyCase& c : AccuracyCases()) {
    if (c.shape.type != type) continue;
    if (isa == Isa::kScalar && c.length > 520) continue;  // slow; bit-identical to the others
    AttentionConfig config = TestConfig(c.shape, c.softcap, c.window);
    config.mask = c.mask;
    TestSequence s = MakeSequence(c.shape, c.length, 7);
    const int32_t blocks = BlocksFor(c.length);
    s.blocks = Blocks(blocks, 0, 1, blocks);
    TestStore store(c.shape, blocks);
    store.Write(s, 0, c.length);
    const std::vector<float> out = RunAttention(AttentionKernelsFor(isa), method, pool, c.shape,
                                                config, store, {{&s, 0, c.length}});
    for (int32_t i = 0; i < c.length; i += i < c.length - 8 ? 7 : 1) {
      const ReferenceRow expected = ReferenceAttention(c.shape, config, s, i);
      for (size_t j = 0; j < expected.out.size(); ++j) {
        const double error =
            std::abs(out[static_cast<size_t>(i) * expected.out.size() + j] - expected.out[j]);
        ASSERT_LE(error, expected.bound[j])
            << "head dim " << c.shape.head_dim << " group " << c.shape.group << " length "
            << c.length << " row " << i << " column " << j;
        worst = std::max(worst, error);
        worst_ratio = std::max(worst_ratio, error / expected.bound[j]);
      }
    }
  }
  std::printf("%s %s %s: worst error %.3g, %.2f of its bound\n", std::string(NameOf(isa)).c_str(),
              method == Method::kFlash ? "flash" : "standard", std::string(NameOf(type)).c_str(),
              worst, worst_ratio);
}

class AttentionTest : public testing::TestWithParam<Isa> {};
std::string TestName(const testing::TestParamInfo<Isa>& info) {
  return std::string(NameOf(info.param));
}
INSTANTIATE_TEST_SUITE_P(AllIsas, AttentionTest, testing::ValuesIn(SupportedIsas()), TestName);

TEST_P(AttentionTest, FlashIsAccurate) {
  for (KvType type : kKvTypes) CheckAccuracy(GetParam(), Method::kFlash, type);
}
TEST_P(AttentionTest, StandardIsAccurate) {
  for (KvType type : kKvTypes) CheckAccuracy(GetParam(), Method::kStandard, type);
}

// Keys and values as models have them: normally distributed, and where there are outliers, with
// the keys of two dimensions of a head far off in all positions (Qwen2's biases do that).
TestSequence NormalSequence(const TestShape& shape, int32_t length, float outlier) {
  TestSequence s =
      MakeSequence({shape.kv_heads, shape.group, shape.head_dim, KvType::kF32}, length, 11);
  const auto normal = [](std::vector<float>& x) {
    for (size_t i = 0; i + 1 < x.size(); i += 2) {  // Box and Muller 1958
      const double radius = std::sqrt(-2 * std::log((1.0000001 + x[i]) / 2.0000002));
      const double angle = 3.14159265358979 * x[i + 1];
      x[i] = static_cast<float>(radius * std::cos(angle));
      x[i + 1] = static_cast<float>(radius * std::sin(angle));
    }
  };
  for (float& x : s.q) x /= 2;
  for (float& x : s.k) x /= 2;
  normal(s.q);
  normal(s.k);
  normal(s.v);
  for (float& x : s.q) x *= 2;
  for (size_t i = 3; i < s.k.size(); i += static_cast<size_t>(shape.head_dim)) {
    s.k[i] += outlier;
    s.k[i + 1] -= outlier;
  }
  return s;
}

enum class Rounding { kNone, kBf16 };

// The error of the last rows' outputs, all together, relative to the norm of the exact ones.
// `stored`: what happens to keys and values before they go into the cache.
double RelativeError(const TestShape& shape, Method method, float outlier, Rounding stored) {
  constexpr int32_t kLength = 1000, kRows = 30;
  ThreadPool pool(2);
  const AttentionConfig config = TestConfig(shape, {}, {});
  TestSequence s = NormalSequence(shape, kLength, outlier);
  s.blocks = Blocks(BlocksFor(kLength), 0, 1, BlocksFor(kLength));
  TestStore store(shape, BlocksFor(kLength));
  TestSequence written = s;
  if (stored == Rounding::kBf16) {
    for (float& x : written.k) x = Bf16ToF32(F32ToBf16(x));
    for (float& x : written.v) x = Bf16ToF32(F32ToBf16(x));
  }
  store.Write(written, 0, kLength);
  const std::vector<float> out = RunAttention(AttentionKernelsFor(DetectIsa()), method, pool, shape,
                                              config, store, {{&s, kLength - kRows, kLength}});
  double error = 0, norm = 0;
  for (int32_t i = 0; i < kRows; ++i) {
    const ReferenceRow row = ReferenceAttention(shape, config, s, kLength - kRows + i);
    for (size_t j = 0; j < row.out.size(); ++j) {
      const double d = out[static_cast<size_t>(i) * row.out.size() + j] - row.out[j];
      error += d * d;
      norm += row.out[j] * row.out[j];
    }
  }
  return std::sqrt(error / norm);
}

// Against float64 on the numbers as they were before they went into the KV cache, so that storing
// them counts too. The second column is bf16 storage with f32 arithmetic: what the arithmetic in
// bf16 adds shows beside it.
TEST(AttentionError, OfEachKvType) {
  struct Column {
    const char* name;
    KvType type;
    Rounding stored;
    double most;
  };
  const Column columns[] = {{"f32", KvType::kF32, Rounding::kNone, 3e-6},
                            {"bf16 kept, f32 sums", KvType::kF32, Rounding::kBf16, 0.01},
                            {"bf16", KvType::kBf16, Rounding::kNone, 0.01},
                            {"q8_0", KvType::kQ8_0, Rounding::kNone, 0.04}};
  for (Method method : {Method::kFlash, Method::kStandard}) {
    for (float outlier : {0.0f, 30.0f}) {
      std::printf("%s, %s: relative error", method == Method::kFlash ? "flash" : "standard",
                  outlier == 0.0f ? "plain keys" : "keys with outliers");
      for (const Column& c : columns) {
        const double error = RelativeError({2, 4, 64, c.type}, method, outlier, c.stored);
        std::printf("  %s %.2g", c.name, error);
        EXPECT_LT(error, (outlier == 0.0f ? 1 : 4) * c.most) << c.name;
      }
      std::printf("\n");
    }
  }
}

}  // namespace
}  // namespace millrace
