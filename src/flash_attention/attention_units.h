// What flash and standard attention share: which keys a query sees, and the packing of queries for
// the kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "flash_attention/attention.h"
#include "flash_attention/kernels.h"

namespace millrace {

// One call of attention: everything that its units of work read.
struct AttentionCall {
  const AttentionKernels& kernels;
  const KvStore& kv;
  int32_t layer;
  const AttentionConfig& config;
  std::span<const AttentionRows> sequences;
  MatrixView<const float> q;
  MatrixView<float> out;

  int64_t head_dim() const { return kv.shape().head_dim; }
  int32_t heads_per_kv_head() const { return config.heads / kv.shape().kv_heads; }
};

// Neighbouring query rows of one sequence, and neighbouring query heads of one KV head. Tile row i
// * heads + h is query row first_row + i, head first_head + h.
struct QueryTile {
  int32_t sequence = 0;
  int64_t first_row = 0;  // within the sequence
  int64_t rows = 0;
  int32_t kv_head = 0;
  int32_t first_head = 0;
  int32_t heads = 0;

  int64_t tile_rows() const { return rows * heads; }
};

// The first position that a query at `position` sees.
int32_t FirstVisible(const AttentionConfig& config, int32_t position);
// One past the last.
int32_t EndVisible(const AttentionConfig& config, const AttentionRows& sequence, int32_t position);

// Of q8_0 the output comes rotated as the values are: turns `heads` heads of [D] back.
void RotateBack(const AttentionCall& call, float* out, int64_t heads);

// Aborts unless shapes and block tables fit each other: the caller's invariant.
void CheckAttentionCall(const AttentionCall& call);

// The queries of a tile, packed and scaled for the kernels, with what they see; one per thread,
// reused.
class PackedTile {
 public:
  void Pack(const AttentionCall& call, const QueryTile& tile);
  // The kernels' view of the tile against `blocks` blocks from block first_block of the sequence.
  // Valid until the next call of Pack or Against.
  AttentionTile Against(int64_t first_block, int64_t blocks);
  // AttentionTile::ahead of the tile that Against made last.
  const std::byte* const* Ahead(int64_t first_block, int64_t blocks);

  int32_t first_visible() const {
    return first_visible_;
  }                                                     // the lowest position that some row sees
  int32_t end_visible() const { return end_visible_; }  // one past the highest

 private:
  void PackRow(const float* query, int64_t row);
  // The keys of the sequence's block `block`, or of its last one.
  const std::byte* KeysOf(int64_t block) const;

  const AttentionCall* call_ = nullptr;
  QueryTile tile_;
  int32_t first_visible_ = 0;
  int32_t end_visible_ = 0;
  AlignedBuffer<float> q_;  // the form that goes with the KV type is in use, see AttentionTile
  AlignedBuffer<uint16_t> q_pairs_;
  AlignedBuffer<int8_t> q_codes_;
  std::vector<float> q_scales_;
  std::vector<int32_t> q_sums_;
  std::vector<int8_t> row_codes_;               // of one query
  std::vector<int32_t> begin_, end_;            // per tile row, positions
  std::vector<int32_t> begin_here_, end_here_;  // the same, from first_block on
  std::vector<const std::byte*> keys_, values_, ahead_;
};

}  // namespace millrace
