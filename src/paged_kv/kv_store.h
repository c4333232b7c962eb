// KvStore: the memory behind the blocks of a BlockPool: keys and values of every layer and KV head.
//
// Layout of one (layer, block, head), chosen so that attention scores come out one key per lane
// (kernels.md):
//   f32:  K [D][32],      V [32][D]
//   bf16: K [D/2][32][2], V [16][D][2]   (the last index pairs two neighbours of the dimension
//   summed over); magnitudes below kSmallestBf16 become 0
//   q8_0: K [E/4][32][4] bytes that stand for byte - 128, then 32 f32 scales, one per token;
//         V [8][E][4] signed bytes, then 32 f32 scales; E is D rounded up to a multiple of 16.
//         Both are made by QuantiseHead (quantised_head.h).
// A block holds [layer][head][K, V] in one piece. Memory starts zeroed, so that unwritten slots are
// finite, and is committed when first touched, so that blocks never used cost nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/id.h"
#include "base/result.h"
#include "paged_kv/block_pool.h"
#include "paged_kv/mapped_memory.h"

namespace millrace {

enum class KvType { kBf16, kF32, kQ8_0 };
inline constexpr KvType kKvTypes[] = {KvType::kBf16, KvType::kF32, KvType::kQ8_0};
std::string_view NameOf(KvType type);  // "bf16", "f32", "q8_0"
Result<KvType> ParseKvType(
    std::string_view name);  // an unknown name: an error that lists the choices

// With operands that are 0 or no smaller, bf16 dot products meet no subnormal number, which
// vdpbf16ps would take for 0.
inline constexpr float kSmallestBf16 = 0x1p-50f;
uint16_t ToStoredBf16(float x);  // 0 below it

struct KvShape {
  int32_t layers = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;  // D, even; the same for keys and values
};

class KvStore {
 public:
  // Allocates blocks * BlockBytes(shape, type). A shape that is not positive, an odd head_dim, and
  // an allocation that fails are errors; the last says how much was asked for.
  static Result<KvStore> Create(const KvShape& shape, KvType type, int32_t blocks);
  static int64_t BlockBytes(const KvShape& shape,
                            KvType type);  // over all layers and heads; at most INT64_MAX

  // Stores one position: k and v are [kv_heads][D] floats; slot is the position modulo
  // kBlockTokens. Different positions may be written by different threads at once.
  void Write(int32_t layer, BlockId block, int32_t slot, const float* k, const float* v);
  // The same for one head: k and v are [D] floats.
  void WriteHead(int32_t layer, BlockId block, int32_t slot, int32_t head, const float* k,
                 const float* v);
  const std::byte* Keys(int32_t layer, BlockId block, int32_t head) const;
  const std::byte* Values(int32_t layer, BlockId block, int32_t head) const;
  // All of a block, every layer: to be kept elsewhere and brought back, in this layout.
  std::span<std::byte> BlockData(BlockId block);
  // Copies every layer of a block: for copy-on-write.
  void CopyBlock(BlockId from, BlockId to);

  const KvShape& shape() const { return shape_; }
  KvType type() const { return type_; }
  int32_t blocks() const { return blocks_; }
  int64_t bytes() const { return memory_.size(); }
  // Of the keys, or the values, of one (layer, block, head).
  int64_t head_bytes() const { return head_bytes_; }
  const MappedMemory& memory() const { return memory_; }

 private:
  KvStore(const KvShape& shape, KvType type, int32_t blocks, MappedMemory memory);
  int64_t Offset(int32_t layer, BlockId block, int32_t head) const;  // of K; V follows

  KvShape shape_;
  KvType type_ = KvType::kBf16;
  int32_t blocks_ = 0;
  int64_t head_bytes_ = 0;
  MappedMemory memory_;
};

}  // namespace millrace
