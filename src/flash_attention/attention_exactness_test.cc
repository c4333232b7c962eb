// Every comparison here is of bits: the result of a row must not depend on how it was computed.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <tuple>

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
    {"q8_0", {2, 2, 64, KvType::kQ8_0}, 321, {}, {}},
    {"q8_0_wide_heads", {1, 9, 128, KvType::kQ8_0}, 300, {}, {}},
    {"q8_0_odd_dimension", {1, 2, 18, KvType::kQ8_0}, 70, {}, {}},
    {"q8_0_window", {1, 4, 80, KvType::kQ8_0}, 600, 3.0f, 45},
    {"wide_window", {1, 2, 32, KvType::kF32}, 600, 4.0f, 257},
};

struct Kernels {
  Isa isa;
  Method method;
};

std::vector<float> RunCase(const Kernels& kernels, const ExactCase& c, ThreadPool& pool,
                           const TestStore& store, const std::vector<TestPiece>& pieces) {
  return RunAttention(AttentionKernelsFor(kernels.isa), kernels.method, pool, c.shape,
                      TestConfig(c.shape, c.softcap, c.window), store, pieces);
}

// The whole sequence at once, alone, in blocks 0, 1, ..., on one thread. Computed once for all
// tests.
const std::vector<float>& Baseline(const Kernels& kernels, const ExactCase& c) {
  static std::map<std::tuple<const char*, Isa, Method>, std::vector<float>> known;
  std::vector<float>& out = known[{c.name, kernels.isa, kernels.method}];
  if (!out.empty()) return out;
  TestSequence s = MakeSequence(c.shape, c.length, 1);
  s.blocks = Blocks(BlocksFor(c.length), 0, 1, BlocksFor(c.length));
  TestStore store(c.shape, BlocksFor(c.length));
  store.Write(s, 0, c.length);
  ThreadPool pool(1);
  out = RunCase(kernels, c, pool, store, {{&s, 0, c.length}});
  return out;
}

// How a sequence is cut into pieces: one of `head` rows (none where 0), then pieces of `step` rows.
struct Way {
  int threads;
  int32_t step;
  int32_t head = 0;
};

class ExactnessTest : public testing::TestWithParam<std::tuple<Isa, Method>> {
 protected:
  static Kernels kernels() { return {std::get<0>(GetParam()), std::get<1>(GetParam())}; }

  std::vector<float> Run(const ExactCase& c, ThreadPool& pool, const TestStore& store,
                         const std::vector<TestPiece>& pieces) {
    return RunCase(kernels(), c, pool, store, pieces);
  }

  // The memory beyond each piece's last key is still NaN, and the blocks are permuted.
  std::vector<float> InPieces(const ExactCase& c, const Way& way) {
    constexpr int32_t kBlocks = 23;  // prime, so that every stride visits all blocks
    TestSequence s = MakeSequence(c.shape, c.length, 1);
    s.blocks = Blocks(BlocksFor(c.length), 5, 7, kBlocks);
    TestStore store(c.shape, kBlocks);
    ThreadPool pool(way.threads);
    const int32_t head = std::min(way.head, c.length - kBlockTokens);
    std::vector<float> out;
    for (int32_t begin = 0, end = 0; begin < c.length; begin = end) {
      end = std::min(c.length, begin == 0 && head > 0 ? head : begin + way.step);
      store.Write(s, begin, end);
      const std::vector<float> piece = Run(c, pool, store, {{&s, begin, end}});
      out.insert(out.end(), piece.begin(), piece.end());
    }
    return out;
  }
};

std::string MethodTestName(const testing::TestParamInfo<std::tuple<Isa, Method>>& info) {
  return std::string(NameOf(std::get<0>(info.param))) +
         (std::get<1>(info.param) == Method::kFlash ? "_flash" : "_standard");
}
INSTANTIATE_TEST_SUITE_P(All, ExactnessTest,
                         testing::Combine(testing::ValuesIn(SupportedIsas()),
                                          testing::Values(Method::kFlash, Method::kStandard)),
                         MethodTestName);

// One thread goes through every length row by row. Several threads begin short of the border of the
// first chunk (256 keys), and go row by row over it and through every size of a block's tail: each
// row wakes them.
std::vector<Way> WaysToRun(Isa isa) {
  if (isa == Isa::kScalar) return {{1, 7}, {3, 1, 240}};  // its kernels are slow
  return {{1, 1}, {1, 7}, {1, 32}, {1, 100}, {2, 1, 30}, {2, 16}, {2, 1000}, {3, 1, 240}, {3, 100}};
}

TEST_P(ExactnessTest, ChunkingAndBlocksAndStaleMemoryAndThreadsDoNotMatter) {
  for (const ExactCase& c : kCases) {
    const std::vector<float>& whole = Baseline(kernels(), c);
    for (float x : whole) ASSERT_TRUE(std::isfinite(x)) << c.name;
    for (const Way& way : WaysToRun(kernels().isa)) {
      EXPECT_TRUE(SameBits(InPieces(c, way), whole))
          << c.name << ", " << way.threads << " threads, pieces of " << way.step;
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
    std::vector<float> last = Baseline(kernels(), c);
    last.erase(last.begin(), last.end() - c.shape.width());
    EXPECT_TRUE(SameBits(Run(c, pool, store, {pieces[0]}), last)) << c.name;
  }
}

// Encoders: rows that see their whole sequence, alone and on one thread, and among others on three.
TEST_P(ExactnessTest, BatchMatesAndThreadsDoNotMatterWithoutAMask) {
  const TestShape shape{3, 1, 32, KvType::kF32};
  AttentionConfig config = TestConfig(shape, {}, {});
  config.mask = AttentionMask::kAll;
  constexpr int32_t kBlocks = 37;
  std::vector<TestSequence> sequences;
  int32_t first = 2;
  for (int32_t length : {300, 5, 64, 256}) {
    TestSequence s = MakeSequence(shape, length, static_cast<uint64_t>(length));
    s.blocks = Blocks(BlocksFor(length), first, 5, kBlocks);
    first += 5 * BlocksFor(length);
    sequences.push_back(std::move(s));
  }
  TestStore store(shape, kBlocks);
  std::vector<TestPiece> pieces;
  std::vector<float> alone, portable;
  ThreadPool one(1), three(3);
  for (const TestSequence& s : sequences) {
    store.Write(s, 0, s.length);
    pieces.push_back({&s, 0, s.length});
    for (auto [isa, all] : {std::pair(kernels().isa, &alone), std::pair(Isa::kScalar, &portable)}) {
      const auto out = RunAttention(AttentionKernelsFor(isa), kernels().method, one, shape, config,
                                    store, {pieces.back()});
      all->insert(all->end(), out.begin(), out.end());
    }
  }
  const auto together = RunAttention(AttentionKernelsFor(kernels().isa), kernels().method, three,
                                     shape, config, store, pieces);
  EXPECT_TRUE(SameBits(together, alone));
  EXPECT_TRUE(SameBits(together, portable));
}

// Keys and values after a row's position, in the same tile, are infinite: the row must not notice.
TEST_P(ExactnessTest, LaterRowsOfTheTileDoNotMatter) {
  for (const ExactCase& c : kCases) {
    const std::vector<float>& whole = Baseline(kernels(), c);
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
TEST_P(ExactnessTest, InstructionSetsAgree) {
  if (kernels().isa == Isa::kScalar) GTEST_SKIP() << "these are what the others are compared with";
  const Kernels portable{Isa::kScalar, kernels().method};
  for (const ExactCase& c : kCases) {
    EXPECT_TRUE(SameBits(Baseline(kernels(), c), Baseline(portable, c))) << c.name;
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
