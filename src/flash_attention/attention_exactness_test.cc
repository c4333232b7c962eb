// Every comparison here is of bits: the result of a row must not depend on how it was computed.
#include <gtest/gtest.h>

#include <string>

#include "flash_attention/attention.h"
#include "flash_attention/attention_test_util.h"

namespace millrace {
namespace {

struct ExactCase {
  const char* name;
  TestShape shape;
  int32_t length;
  std::optional<float> softcap;
  std::optional<int32_t> window;
};

const ExactCase kCases[] = {
    {"f32", {1, 1, 32, KvType::kF32}, 321, {}, {}},
    {"bf16", {2, 2, 64, KvType::kBf16}, 321, {}, {}},
    {"groups_of_7", {1, 7, 16, KvType::kBf16}, 290, {}, {}},
    {"groups_of_8", {1, 8, 32, KvType::kF32}, 270, {}, {}},
    {"wide_heads", {1, 2, 128, KvType::kBf16}, 300, {}, {}},
    {"odd_dimension", {1, 2, 18, KvType::kBf16}, 70, {}, {}},
    {"softcap", {1, 4, 32, KvType::kBf16}, 270, 3.0f, {}},
    {"narrow_window", {1, 2, 32, KvType::kBf16}, 600, {}, 19},
    {"wide_window", {1, 2, 32, KvType::kF32}, 600, 4.0f, 257},
};

class ExactnessTest : public testing::TestWithParam<std::tuple<Isa, Method>> {
 protected:
  // The whole sequence at once, alone, in blocks 0, 1, ..., on one thread.
  std::vector<float> Baseline(const ExactCase& c) {
    TestSequence s = MakeSequence(c.shape, c.length, 1);
    s.blocks = Blocks(BlocksFor(c.length), 0, 1, BlocksFor(c.length));
    TestStore store(c.shape, BlocksFor(c.length));
    store.Write(s, 0, c.length);
    ThreadPool pool(1);
    return Run(c, pool, store, {{&s, 0, c.length}});
  }

  std::vector<float> Run(const ExactCase& c, ThreadPool& pool, const TestStore& store,
                         const std::vector<TestPiece>& pieces) {
    const auto [isa, method] = GetParam();
    return RunAttention(AttentionKernelsFor(isa), method, pool, c.shape,
                        TestConfig(c.shape, c.softcap, c.window), store, pieces);
  }

  // In pieces of `step` rows, the memory beyond the piece's last key still NaN, in permuted blocks.
  std::vector<float> InPieces(const ExactCase& c, int threads, int32_t step) {
    constexpr int32_t kBlocks = 23;  // prime, so that every stride visits all blocks
    TestSequence s = MakeSequence(c.shape, c.length, 1);
    s.blocks = Blocks(BlocksFor(c.length), 5, 7, kBlocks);
    TestStore store(c.shape, kBlocks);
    ThreadPool pool(threads);
    std::vector<float> out;
    for (int32_t begin = 0; begin < c.length; begin += step) {
      const int32_t end = std::min(c.length, begin + step);
      store.Write(s, begin, end);
      const std::vector<float> piece = Run(c, pool, store, {{&s, begin, end}});
      out.insert(out.end(), piece.begin(), piece.end());
    }
    return out;
  }
};

std::string TestName(const testing::TestParamInfo<std::tuple<Isa, Method>>& info) {
  return std::string(NameOf(std::get<0>(info.param))) +
         (std::get<1>(info.param) == Method::kFlash ? "_flash" : "_standard");
}
INSTANTIATE_TEST_SUITE_P(All, ExactnessTest,
                         testing::Combine(testing::ValuesIn(SupportedIsas()),
                                          testing::Values(Method::kFlash, Method::kStandard)),
                         TestName);

// How many threads, and how many rows at a time.
std::vector<std::pair<int, int32_t>> WaysToRun(Isa isa) {
  if (isa == Isa::kScalar) return {{1, 7}, {3, 1}};  // its kernels are slow
  return {{1, 1}, {1, 7}, {1, 32}, {1, 100}, {2, 1}, {2, 16}, {2, 1000}, {3, 1}, {3, 100}};
}

TEST_P(ExactnessTest, ChunkingAndBlocksAndStaleMemoryAndThreadsDoNotMatter) {
  for (const ExactCase& c : kCases) {
    const std::vector<float> whole = Baseline(c);
    for (float x : whole) ASSERT_TRUE(std::isfinite(x)) << c.name;
    for (const auto& [threads, step] : WaysToRun(std::get<0>(GetParam()))) {
      EXPECT_TRUE(SameBits(InPieces(c, threads, step), whole))
          << c.name << ", " << threads << " threads, pieces of " << step;
    }
  }
}

// A batch in which a long and a short sequence are decoded while two others are prefilled.
TEST_P(ExactnessTest, BatchMatesDoNotMatter) {
  for (const ExactCase& c : kCases) {
    std::vector<TestSequence> sequences;
    constexpr int32_t kBlocks = 67;
    int32_t first = 3;
    for (int32_t length : {c.length, 40, 3, 150}) {
      TestSequence s =
          MakeSequence(c.shape, length, length == c.length ? 1u : static_cast<uint64_t>(length));
      s.blocks = Blocks(BlocksFor(length), first, 11, kBlocks);
      first += 11 * BlocksFor(length);
      sequences.push_back(std::move(s));
    }
    TestStore store(c.shape, kBlocks);
    std::vector<TestPiece> pieces;
    for (const TestSequence& s : sequences) store.Write(s, 0, s.length);
    for (const TestSequence& s : sequences) {
      pieces.push_back({&s, s.length == 150 ? 50 : s.length - (s.length == 3 ? 3 : 1), s.length});
    }
    for (int threads : {1, 3}) {
      ThreadPool pool(threads);
      std::vector<float> alone;
      for (const TestPiece& piece : pieces) {
        const std::vector<float> out = Run(c, pool, store, {piece});
        alone.insert(alone.end(), out.begin(), out.end());
      }
      EXPECT_TRUE(SameBits(Run(c, pool, store, pieces), alone))
          << c.name << ", " << threads << " threads";
    }
    ThreadPool pool(1);
    std::vector<float> last = Baseline(c);
    last.erase(last.begin(), last.end() - c.shape.width());
    EXPECT_TRUE(SameBits(Run(c, pool, store, {pieces[0]}), last)) << c.name;
  }
}

// Keys and values after a row's position, in the same tile, are infinite: the row must not notice.
TEST_P(ExactnessTest, LaterRowsOfTheTileDoNotMatter) {
  for (const ExactCase& c : kCases) {
    const std::vector<float> whole = Baseline(c);
    const int32_t cut = c.length - 20;
    TestSequence s = MakeSequence(c.shape, c.length, 1);
    for (size_t i = static_cast<size_t>(cut * c.shape.kv_width()); i < s.k.size(); ++i) {
      s.k[i] = s.v[i] = std::numeric_limits<float>::infinity();
    }
    s.blocks = Blocks(BlocksFor(c.length), 0, 1, BlocksFor(c.length));
    TestStore store(c.shape, BlocksFor(c.length));
    store.Write(s, 0, c.length);
    ThreadPool pool(1);
    std::vector<float> before = Run(c, pool, store, {{&s, 0, c.length}});
    before.resize(static_cast<size_t>(cut * c.shape.width()));
    EXPECT_TRUE(
        SameBits(before, {whole.begin(), whole.begin() + static_cast<int64_t>(before.size())}))
        << c.name;
  }
}

// The portable kernels define the result of all others.
TEST(AttentionKernels, InstructionSetsAgree) {
  ThreadPool pool(2);
  for (const ExactCase& c : kCases) {
    const AttentionConfig config = TestConfig(c.shape, c.softcap, c.window);
    TestSequence s = MakeSequence(c.shape, c.length, 1);
    s.blocks = Blocks(BlocksFor(c.length), 0, 1, BlocksFor(c.length));
    TestStore store(c.shape, BlocksFor(c.length));
    store.Write(s, 0, c.length);
    for (Method method : {Method::kFlash, Method::kStandard}) {
      const auto run = [&](Isa isa) {
        return RunAttention(AttentionKernelsFor(isa), method, pool, c.shape, config, store,
                            {{&s, 0, c.length}});
      };
      const std::vector<float> portable = run(Isa::kScalar);
      for (Isa isa : SupportedIsas()) {
        EXPECT_TRUE(SameBits(run(isa), portable)) << c.name << ", " << NameOf(isa);
      }
    }
  }
}

TEST(StandardAttention, CountsTheBytesOfItsMatrices) {
  const TestShape shape{2, 2, 16, KvType::kF32};
  TestSequence s = MakeSequence(shape, 40, 1);
  s.blocks = Blocks(2, 0, 1, 2);
  TestStore store(shape, 2);
  store.Write(s, 0, 40);
  ThreadPool pool(2);
  std::vector<float> out(s.q.size());
  const MatrixView<const float> q{s.q.data(), 40, shape.width(), shape.width()};
  const AttentionRows rows{0, 40, 0, s.blocks};
  const int64_t bytes = StandardAttention(AttentionKernelsFor(DetectIsa()), pool, store.kv(),
                                          TestStore::kLayer, TestConfig(shape, {}, {}), {&rows, 1},
                                          q, {out.data(), 40, shape.width(), shape.width()});
  EXPECT_EQ(bytes,
            4 * 40 * 64 * 8);  // heads, rows, keys in whole blocks, a score and a probability
}

}  // namespace
}  // namespace millrace
