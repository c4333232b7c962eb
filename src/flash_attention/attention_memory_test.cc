// The kernels read nothing outside the blocks that they are given: blocks here end, or begin, at
// pages that cannot be touched.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "flash_attention/attention_test_util.h"
#include "flash_attention/attention_units.h"
#include "flash_attention/kernels.h"

namespace millrace {
namespace {

enum class Side { kEnd, kBegin };

// A copy of some bytes with a page that cannot be touched right after, or right before, them.
class GuardedBytes {
 public:
  GuardedBytes(const std::byte* from, size_t bytes, Side side) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t inside = (bytes + page - 1) / page * page;
    size_ = inside + 2 * page;
    memory_ = static_cast<std::byte*>(
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(memory_, MAP_FAILED);
    data_ = memory_ + page + (side == Side::kEnd ? inside - bytes : 0);
    std::memcpy(data_, from, bytes);
    EXPECT_EQ(mprotect(memory_, page, PROT_NONE), 0);
    EXPECT_EQ(mprotect(memory_ + page + inside, page, PROT_NONE), 0);
  }
  GuardedBytes(GuardedBytes&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)), data_(other.data_), size_(other.size_) {}
  GuardedBytes& operator=(GuardedBytes&&) = delete;
  ~GuardedBytes() {
    if (memory_ != nullptr) munmap(memory_, size_);
  }
  const std::byte* data() const { return data_; }

 private:
  std::byte* memory_ = nullptr;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

std::vector<GuardedBytes> Guard(const std::byte* const* pieces, int64_t count, int64_t bytes,
                                Side side) {
  std::vector<GuardedBytes> guarded;
  for (int64_t i = 0; i < count; ++i) {
    guarded.emplace_back(pieces[i], static_cast<size_t>(bytes), side);
  }
  return guarded;
}

std::vector<const std::byte*> Pointers(const std::vector<GuardedBytes>& guarded) {
  std::vector<const std::byte*> pointers;
  for (const GuardedBytes& g : guarded) pointers.push_back(g.data());
  return pointers;
}

// Flash's chunk, and standard's outputs, one after the other.
std::vector<float> RunKernels(const AttentionKernels& kernels, const AttentionTile& tile) {
  const auto rows = static_cast<size_t>(tile.rows), dim = static_cast<size_t>(tile.head_dim);
  std::vector<float> all(rows * dim * 2), max(rows), sum(rows), scratch(kBlockTokens * dim);
  kernels.chunk(tile, {max.data(), sum.data(), all.data()});
  const int64_t columns = tile.blocks * kBlockTokens;
  std::vector<float> scores(rows * static_cast<size_t>(columns)), p(scores.size());
  kernels.scores(tile, scores.data(), columns);
  for (int64_t r = 0; r < tile.rows; ++r) {
    kernels.probabilities(scores.data() + r * columns, columns, p.data() + r * columns);
  }
  kernels.weighted_values(tile, p.data(), columns, scratch.data(), all.data() + rows * dim);
  return all;
}

class MemoryTest : public testing::TestWithParam<Isa> {};
std::string IsaName(const testing::TestParamInfo<Isa>& param) {
  std::string name(NameOf(param.param));
  std::erase(name, '-');
  return name;
}
INSTANTIATE_TEST_SUITE_P(AllIsas, MemoryTest, testing::ValuesIn(SupportedIsas()), IsaName);

// Rows see 61 keys of two blocks, so that the last block has a tail of every kind.
void CheckGuarded(Isa isa, KvType type, int32_t dim, Side side) {
  const TestShape shape{1, 3, dim, type};
  constexpr int32_t kLength = 61;
  TestSequence s = MakeSequence(shape, kLength, 5);
  s.blocks = Blocks(2, 0, 1, 2);
  TestStore store(shape, 2);
  store.Write(s, 0, kLength);
  const AttentionConfig config = TestConfig(shape, {}, {});
  const AttentionRows rows{0, kLength, 0, s.blocks};
  std::vector<float> out(s.q.size());
  const AttentionCall call{AttentionKernelsFor(isa),
                           store.kv(),
                           TestStore::kLayer,
                           config,
                           {&rows, 1},
                           {s.q.data(), kLength, shape.width(), shape.width()},
                           {out.data(), kLength, shape.width(), shape.width()}};
  PackedTile packed;
  packed.Pack(
      call,
      {.sequence = 0, .first_row = 0, .rows = kLength, .kv_head = 0, .first_head = 0, .heads = 3});
  AttentionTile tile = packed.Against(0, 2);
  const std::vector<float> expected = RunKernels(call.kernels, tile);
  const int64_t bytes = KvStore::BlockBytes({1, 1, dim}, type) / 2;
  const std::vector<GuardedBytes> keys = Guard(tile.keys, 2, bytes, side);
  const std::vector<GuardedBytes> values = Guard(tile.values, 2, bytes, side);
  const std::vector<const std::byte*> key_pointers = Pointers(keys),
                                      value_pointers = Pointers(values);
  tile.keys = key_pointers.data();
  tile.values = value_pointers.data();
  const std::vector<const std::byte*> later = {value_pointers[0], value_pointers[1],
                                               key_pointers[0], key_pointers[1]};
  for (const std::byte* const* ahead :
       {static_cast<const std::byte* const*>(nullptr), later.data()}) {
    tile.ahead = ahead;
    EXPECT_TRUE(SameBits(RunKernels(call.kernels, tile), expected))
        << NameOf(type) << ", head dimension " << dim;
  }
}

TEST_P(MemoryTest, NothingOutsideTheBlocksIsRead) {
  for (KvType type : kKvTypes) {
    for (int32_t dim : {10, 16, 18, 64, 80, 96, 128, 256}) {
      for (Side side : {Side::kEnd, Side::kBegin}) CheckGuarded(GetParam(), type, dim, side);
    }
  }
}

}  // namespace
}  // namespace millrace
