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
};

std::vector<AccuracyCase> AccuracyCases() {
  std::vector<AccuracyCase> cases;
  for (KvType type : {KvType::kBf16, KvType::kF32}) {
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
  }
  return cases;
}

// Prints the worst error against float64, absolute and in units of its bound.
void CheckAccuracy(Isa isa, Method method) {
  ThreadPool pool(2);
  double worst = 0, worst_ratio = 0;
  for (const AccuracyCase& c : AccuracyCases()) {
    if (isa == Isa::kScalar && c.length > 520) continue;  // slow; bit-identical to the others
    const AttentionConfig config = TestConfig(c.shape, c.softcap, c.window);
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
  std::printf("%s %s: worst error %.3g, %.2f of its bound\n", std::string(NameOf(isa)).c_str(),
              method == Method::kFlash ? "flash" : "standard", worst, worst_ratio);
}

class AttentionTest : public testing::TestWithParam<Isa> {};
std::string TestName(const testing::TestParamInfo<Isa>& info) {
  return std::string(NameOf(info.param));
}
INSTANTIATE_TEST_SUITE_P(AllIsas, AttentionTest, testing::ValuesIn(SupportedIsas()), TestName);

TEST_P(AttentionTest, FlashIsAccurate) { CheckAccuracy(GetParam(), Method::kFlash); }
TEST_P(AttentionTest, StandardIsAccurate) { CheckAccuracy(GetParam(), Method::kStandard); }

}  // namespace
}  // namespace millrace
