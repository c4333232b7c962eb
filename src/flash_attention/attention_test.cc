#include "flash_attention/attention.h"

#include <gtest/gtest.h>

#include <string>

#include "flash_attention/attention_test_util.h"

namespace millrace {
namespace {

enum class Method { kFlash, kStandard };

struct Runner {
  const AttentionKernels& kernels;
  ThreadPool& pool;
  const TestShape& shape;
  const AttentionConfig& config;
  Method method;

  // Attention of positions [begin, end) of each sequence in one batch; [rows of all][width].
  struct Piece {
    const TestSequence* sequence;
    int32_t begin, end;
  };
  std::vector<float> Run(const TestStore& store, const std::vector<Piece>& pieces) const {
    std::vector<float> q;
    std::vector<AttentionRows> rows;
    for (const Piece& p : pieces) {
      const int64_t first = static_cast<int64_t>(q.size()) / shape.width();
      rows.push_back({first, p.end - p.begin, p.begin, p.sequence->blocks});
      q.insert(q.end(), p.sequence->q.begin() + p.begin * shape.width(),
               p.sequence->q.begin() + p.end * shape.width());
    }
    std::vector<float> out(q.size(), std::numeric_limits<float>::quiet_NaN());
    const int64_t total = static_cast<int64_t>(q.size()) / shape.width();
    const MatrixView<const float> q_view{q.data(), total, shape.width(), shape.width()};
    const MatrixView<float> out_view{out.data(), total, shape.width(), shape.width()};
    if (method == Method::kFlash) {
      FlashAttention(kernels, pool, store.kv(), TestStore::kLayer, config, rows, q_view, out_view);
    } else {
      StandardAttention(kernels, pool, store.kv(), TestStore::kLayer, config, rows, q_view,
                        out_view);
    }
    return out;
  }
};

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
    const AttentionConfig config{.heads = c.shape.heads(),
                                 .scale = 1.0f / std::sqrt(static_cast<float>(c.shape.head_dim)),
                                 .softcap = c.softcap,
                                 .window = c.window};
    TestSequence s = MakeSequence(c.shape, c.length, 7);
    const int32_t blocks = BlocksFor(c.length);
    s.blocks = Blocks(blocks, 0, 1, blocks);
    TestStore store(c.shape, blocks);
    store.Write(s, 0, c.length);
    const std::vector<float> out =
        Runner{AttentionKernelsFor(isa), pool, c.shape, config, method}.Run(store,
                                                                            {{&s, 0, c.length}});
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
