#include "paged_kv/kv_store.h"

#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/float16.h"

namespace millrace {
namespace {

int64_t ElementBytes(KvType type) { return type == KvType::kBf16 ? 2 : 4; }

// a * b for a, b >= 0, or INT64_MAX where that overflows.
int64_t SaturatingMultiply(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<int64_t>::max() : product;
}

// K [D][32], V [32][D]
void WriteF32(const float* k, const float* v, int32_t dim, int32_t slot, float* keys,
              float* values) {
  for (int32_t d = 0; d < dim; ++d) keys[d * kBlockTokens + slot] = k[d];
  std::memcpy(values + slot * dim, v, static_cast<size_t>(dim) * sizeof(float));
}

// K [D/2][32][2], V [16][D][2]
void WriteBf16(const float* k, const float* v, int32_t dim, int32_t slot, uint16_t* keys,
               uint16_t* values) {
  keys += 2 * slot;
  for (int32_t d = 0; d < dim; d += 2) {
    keys[d * kBlockTokens] = F32ToBf16(k[d]);
    keys[d * kBlockTokens + 1] = F32ToBf16(k[d + 1]);
  }
  values += (slot / 2) * dim * 2 + slot % 2;
  for (int32_t d = 0; d < dim; ++d) values[2 * d] = F32ToBf16(v[d]);
}

}  // namespace

std::string_view NameOf(KvType type) { return type == KvType::kBf16 ? "bf16" : "f32"; }

Result<KvType> ParseKvType(std::string_view name) {
  for (KvType type : {KvType::kBf16, KvType::kF32}) {
    if (name == NameOf(type)) return type;
  }
  return Error{"unknown KV type '" + std::string(name) + "': choose one of bf16, f32"};
}

int64_t KvStore::BlockBytes(const KvShape& shape, KvType type) {
  int64_t bytes = 2 * kBlockTokens * ElementBytes(type);
  for (int32_t extent : {shape.head_dim, shape.kv_heads, shape.layers}) {
    bytes = SaturatingMultiply(bytes, extent);
  }
  return bytes;
}

Result<KvStore> KvStore::Create(const KvShape& shape, KvType type, int32_t blocks) {
  if (shape.layers < 1 || shape.kv_heads < 1 || shape.head_dim < 2 || shape.head_dim % 2 != 0) {
    return Error{"cannot make a KV store of " + std::to_string(shape.layers) + " layers, " +
                 std::to_string(shape.kv_heads) + " KV heads and head dimension " +
                 std::to_string(shape.head_dim) +
                 ": all must be positive and the head dimension even"};
  }
  if (blocks < 1) {
    return Error{"cannot make a KV store of " + std::to_string(blocks) +
                 " blocks: give at least one"};
  }
  const int64_t bytes = SaturatingMultiply(BlockBytes(shape, type), blocks);
  std::optional<MappedMemory> memory;
  if (bytes < std::numeric_limits<int64_t>::max()) memory = MappedMemory::Map(bytes);
  if (!memory.has_value()) {
    const std::string amount = bytes == std::numeric_limits<int64_t>::max()
                                   ? "more than 8 EiB"
                                   : std::to_string(bytes >> 20) + " MiB";
    return Error{"cannot allocate " + amount + " for " + std::to_string(blocks) + " KV blocks of " +
                     std::to_string(kBlockTokens) + " tokens in " + std::string(NameOf(type)) +
                     ": ask for fewer blocks or a smaller KV type",
                 ErrorKind::kExhausted};
  }
  return KvStore(shape, type, blocks, *std::move(memory));
}

KvStore::KvStore(const KvShape& shape, KvType type, int32_t blocks, MappedMemory memory)
    : shape_(shape),
      type_(type),
      blocks_(blocks),
      head_bytes_(int64_t{kBlockTokens} * shape.head_dim * ElementBytes(type)),
      memory_(std::move(memory)) {}

int64_t KvStore::Offset(int32_t layer, BlockId block, int32_t head) const {
  const int64_t index =
      (int64_t{block.value} * shape_.layers + layer) * int64_t{shape_.kv_heads} + head;
  return index * 2 * head_bytes_;
}

void KvStore::Write(int32_t layer, BlockId block, int32_t slot, const float* k, const float* v) {
  const int32_t dim = shape_.head_dim;
  for (int32_t head = 0; head < shape_.kv_heads; ++head, k += dim, v += dim) {
    WriteHead(layer, block, slot, head, k, v);
  }
}

void KvStore::WriteHead(int32_t layer, BlockId block, int32_t slot, int32_t head, const float* k,
                        const float* v) {
  const int32_t dim = shape_.head_dim;
  std::byte* keys = memory_.data() + Offset(layer, block, head);
  std::byte* values = keys + head_bytes_;
  if (type_ == KvType::kBf16) {
    WriteBf16(k, v, dim, slot, reinterpret_cast<uint16_t*>(keys),
              reinterpret_cast<uint16_t*>(values));
  } else {
    WriteF32(k, v, dim, slot, reinterpret_cast<float*>(keys), reinterpret_cast<float*>(values));
  }
}

const std::byte* KvStore::Keys(int32_t layer, BlockId block, int32_t head) const {
  return memory_.data() + Offset(layer, block, head);
}

const std::byte* KvStore::Values(int32_t layer, BlockId block, int32_t head) const {
  return memory_.data() + Offset(layer, block, head) + head_bytes_;
}

std::span<std::byte> KvStore::BlockData(BlockId block) {
  CHECK(block.value >= 0 && block.value < blocks_);
  const int64_t bytes = BlockBytes(shape_, type_);
  return {memory_.data() + block.value * bytes, static_cast<size_t>(bytes)};
}

void KvStore::CopyBlock(BlockId from, BlockId to) {
  CHECK(from.value >= 0 && from.value < blocks_ && to.value >= 0 && to.value < blocks_);
  if (from == to) return;
  const int64_t bytes = shape_.layers * int64_t{shape_.kv_heads} * 2 * head_bytes_;
  std::memcpy(memory_.data() + to.value * bytes, memory_.data() + from.value * bytes,
              static_cast<size_t>(bytes));
}

}  // namespace millrace
