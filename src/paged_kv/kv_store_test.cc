#include "paged_kv/kv_store.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

#include "base/float16.h"

namespace millrace {
namespace {

TEST(KvType, ParsesItsNames) {
  EXPECT_EQ(*ParseKvType("bf16"), KvType::kBf16);
  EXPECT_EQ(*ParseKvType("f32"), KvType::kF32);
  EXPECT_EQ(*ParseKvType("q8_0"), KvType::kQ8_0);
  EXPECT_EQ(ParseKvType("f16").error().message,
            "unknown KV type 'f16': choose one of bf16, f32, q8_0");
}

constexpr KvShape kShape{3, 2, 6};

float KeyAt(int32_t layer, int32_t block, int32_t slot, int32_t head, int32_t d) {
  return static_cast<float>((((layer * 4 + block) * 32 + slot) * 2 + head) * 8 + d) / 7.0f;
}
float ValueAt(int32_t layer, int32_t block, int32_t slot, int32_t head, int32_t d) {
  return -KeyAt(layer, block, slot, head, d);
}

// Visits every number of a store of kShape and four blocks.
template <class Visit>
void ForEachNumber(Visit visit) {
  for (int32_t layer = 0; layer < kShape.layers; ++layer) {
    for (int32_t block = 0; block < 4; ++block) {
      for (int32_t slot = 0; slot < kBlockTokens; ++slot) {
        for (int32_t head = 0; head < kShape.kv_heads; ++head) {
          for (int32_t d = 0; d < kShape.head_dim; ++d) visit(layer, block, slot, head, d);
        }
      }
    }
  }
}

void Fill(KvStore& kv) {
  std::vector<float> k(static_cast<size_t>(kShape.kv_heads * kShape.head_dim)), v = k;
  ForEachNumber([&](int32_t layer, int32_t block, int32_t slot, int32_t head, int32_t d) {
    const size_t i = static_cast<size_t>(head * kShape.head_dim + d);
    k[i] = KeyAt(layer, block, slot, head, d);
    v[i] = ValueAt(layer, block, slot, head, d);
    if (i + 1 == k.size()) kv.Write(layer, BlockId(block), slot, k.data(), v.data());
  });
}

// Reads by the layouts that kv_store.h documents.
std::pair<float, float> Read(const KvStore& kv, int32_t layer, BlockId block, int32_t slot,
                             int32_t head, int32_t d) {
  const int32_t dim = kv.shape().head_dim;
  if (kv.type() == KvType::kF32) {
    const float* k = reinterpret_cast<const float*>(kv.Keys(layer, block, head));
    const float* v = reinterpret_cast<const float*>(kv.Values(layer, block, head));
    return {k[d * 32 + slot], v[slot * dim + d]};
  }
  const uint16_t* k = reinterpret_cast<const uint16_t*>(kv.Keys(layer, block, head));
  const uint16_t* v = reinterpret_cast<const uint16_t*>(kv.Values(layer, block, head));
  return {Bf16ToF32(k[(d / 2 * 32 + slot) * 2 + d % 2]),
          Bf16ToF32(v[(slot / 2 * dim + d) * 2 + slot % 2])};
}

class KvStoreTest : public testing::TestWithParam<KvType> {};
INSTANTIATE_TEST_SUITE_P(Types, KvStoreTest, testing::Values(KvType::kBf16, KvType::kF32),
                         [](const auto& test) { return std::string(NameOf(test.param)); });

TEST_P(KvStoreTest, HoldsEverySlotInTheDocumentedLayout) {
  KvStore kv = KvStore::Create(kShape, GetParam(), 4).value();
  EXPECT_EQ(kv.bytes(), 4 * KvStore::BlockBytes(kShape, GetParam()));
  EXPECT_EQ(Read(kv, 2, BlockId(3), 31, 1, 5), std::make_pair(0.0f, 0.0f));
  Fill(kv);
  ForEachNumber([&](int32_t layer, int32_t block, int32_t slot, int32_t head, int32_t d) {
    float k = KeyAt(layer, block, slot, head, d), v = ValueAt(layer, block, slot, head, d);
    if (GetParam() == KvType::kBf16) {
      k = Bf16ToF32(F32ToBf16(k));
      v = Bf16ToF32(F32ToBf16(v));
    }
    ASSERT_EQ(Read(kv, layer, BlockId(block), slot, head, d), std::make_pair(k, v));
  });
}

TEST_P(KvStoreTest, CopiesABlockAndNothingElse) {
  KvStore kv = KvStore::Create(kShape, GetParam(), 4).value();
  Fill(kv);
  const KvStore& before = kv;
  std::vector<std::pair<float, float>> old;
  ForEachNumber([&](int32_t layer, int32_t block, int32_t slot, int32_t head, int32_t d) {
    const int32_t source = block == 2 ? 1 : block;
    old.push_back(Read(before, layer, BlockId(source), slot, head, d));
  });
  kv.CopyBlock(BlockId(1), BlockId(2));
  size_t i = 0;
  ForEachNumber([&](int32_t layer, int32_t block, int32_t slot, int32_t head, int32_t d) {
    ASSERT_EQ(Read(kv, layer, BlockId(block), slot, head, d), old[i++]);
  });
}

TEST(KvStore, BlockBytesCountsKeysAndValues) {
  EXPECT_EQ(KvStore::BlockBytes({16, 8, 64}, KvType::kBf16), 1 << 20);
  EXPECT_EQ(KvStore::BlockBytes({16, 8, 64}, KvType::kF32), 2 << 20);
  constexpr int32_t kMost = std::numeric_limits<int32_t>::max();
  EXPECT_EQ(KvStore::BlockBytes({kMost, kMost, kMost}, KvType::kF32),
            std::numeric_limits<int64_t>::max());
}

TEST(KvStore, RefusesAbsurdSizes) {
  constexpr int32_t kMost = std::numeric_limits<int32_t>::max();
  const auto message = [](const KvShape& shape, int32_t blocks) {
    return KvStore::Create(shape, KvType::kF32, blocks).error().message;
  };
  EXPECT_EQ(message({kMost, kMost, 2048}, kMost),
            "cannot allocate more than 8 EiB for 2147483647 KV blocks of 32 tokens in f32: "
            "ask for fewer blocks or a smaller KV type");
  EXPECT_EQ(message({1024, 1024, 1024}, 1 << 20),
            "cannot allocate 274877906944 MiB for 1048576 KV blocks of 32 tokens in f32: "
            "ask for fewer blocks or a smaller KV type");
  EXPECT_EQ(message({1, 1, 7}, 1),
            "cannot make a KV store of 1 layers, 1 KV heads and head dimension 7: all must be "
            "positive and the head dimension even");
  EXPECT_EQ(message({0, 1, 8}, 1),
            "cannot make a KV store of 0 layers, 1 KV heads and head dimension 8: all must be "
            "positive and the head dimension even");
  EXPECT_EQ(message({1, 1, 8}, -3), "cannot make a KV store of -3 blocks: give at least one");
}

// Gigabytes that nobody touches cost nothing.
TEST(KvStore, CommitsMemoryWhenTouched) {
  KvStore kv = KvStore::Create({16, 8, 64}, KvType::kBf16, 4096).value();
  EXPECT_EQ(kv.memory().residence().value().resident_bytes, 0);
  const std::vector<float> one(8 * 64, 1.0f);
  kv.Write(15, BlockId(4095), 31, one.data(), one.data());
  EXPECT_EQ(Read(kv, 15, BlockId(4095), 31, 7, 63), std::make_pair(1.0f, 1.0f));
  const auto residence = kv.memory().residence().value();
  EXPECT_GT(residence.resident_bytes, 0);
  EXPECT_LE(residence.resident_bytes, 16 << 20) << "of 4 GiB";
  EXPECT_LE(residence.huge_bytes, residence.resident_bytes);
}

}  // namespace
}  // namespace millrace
