#include "flash_attention/attention.h"

#include <algorithm>
#include <vector>

#include "base/aligned_buffer.h"
#include "flash_attention/attention_units.h"
#include "flash_attention/kernels.h"

namespace millrace {
namespace {

// Rows of a tile: enough to use each block of keys and values many times, few enough that queries
// and outputs stay in the second-level cache.
constexpr int64_t kTileRows = 128;
// Sequences with at most so many query rows may be split along the keys: decoding, and the
// verification of drafts.
constexpr int64_t kSplitRows = 16;
constexpr int64_t kNotSplit = -1;
// Tiles of at most so many rows wait for memory rather than for arithmetic.
constexpr int64_t kPrefetchRows = 16;

// A tile against chunks [first_chunk, end_chunk) of its sequence.
struct Unit {
  QueryTile tile;
  int32_t first_chunk = 0;
  int32_t end_chunk = 0;
  int64_t partial = kNotSplit;  // the first of this unit's states in Partials, if the tile is split
  int64_t work() const { return tile.tile_rows() * (end_chunk - first_chunk); }
};

// (max, sum, output) of a number of rows.
class StateBuffer {
 public:
  void Reserve(int64_t rows, int64_t head_dim) {
    statistics_.Reserve(static_cast<size_t>(2 * rows));
    output_.Reserve(static_cast<size_t>(rows * head_dim));
    rows_ = rows;
    head_dim_ = head_dim;
  }
  AttentionState From(int64_t row) {
    return {statistics_.data() + row, statistics_.data() + rows_ + row,
            output_.data() + row * head_dim_};
  }

 private:
  AlignedBuffer<float> statistics_, output_;
  int64_t rows_ = 0;
  int64_t head_dim_ = 0;
};

struct ThreadScratch {
  PackedTile packed;
  StateBuffer part, total;
};

ThreadScratch& Scratch() {
  thread_local ThreadScratch scratch;
  return scratch;
}

// One call's units and, for the tiles that are split, one state per row and chunk: [unit][row of
// the tile].
struct Plan {
  std::vector<Unit> units;
  std::vector<Unit>
      split_tiles;  // chunks and states of each split tile as a whole: [chunk][row of the tile]
  StateBuffer partials;
  int64_t partial_bytes = 0;
};

void AddTiles(const AttentionCall& call, int32_t index, std::vector<Unit>& units) {
  const AttentionRows& sequence = call.sequences[static_cast<size_t>(index)];
  const int32_t heads = call.heads_per_kv_head();
  const int64_t rows_per_tile = std::max(int64_t{1}, kTileRows / heads);
  for (int64_t row = 0; row < sequence.rows; row += rows_per_tile) {
    const int64_t rows = std::min(rows_per_tile, sequence.rows - row);
    const int32_t first = sequence.first_position + static_cast<int32_t>(row);
    const int32_t last = first + static_cast<int32_t>(rows) - 1;
    const int32_t end = EndVisible(call.config, sequence, last);
    for (int32_t kv_head = 0; kv_head < call.kv.shape().kv_heads; ++kv_head) {
      units.push_back({.tile = {index, row, rows, kv_head, kv_head * heads, heads},
                       .first_chunk = FirstVisible(call.config, first) / kAttentionChunk,
                       .end_chunk = (end - 1) / kAttentionChunk + 1});
    }
  }
}

// Splits the small tiles that alone would keep a thread busy for more than a quarter of its share.
// There are at most 4 * threads of those, which bounds the memory for partial states.
void MakePlan(const AttentionCall& call, int threads, Plan& plan) {
  plan.units.clear();
  plan.split_tiles.clear();
  for (size_t i = 0; i < call.sequences.size(); ++i)
    AddTiles(call, static_cast<int32_t>(i), plan.units);
  int64_t total = 0;
  for (const Unit& unit : plan.units) total += unit.work();
  int64_t partial_rows = 0;
  const size_t tiles = plan.units.size();
  for (size_t i = 0; threads > 1 && i < tiles; ++i) {
    const Unit whole = plan.units[i];
    if (whole.tile.rows > kSplitRows || whole.end_chunk - whole.first_chunk < 2) continue;
    if (whole.work() * 4 * threads <= total) continue;
    plan.split_tiles.push_back(whole);
    plan.split_tiles.back().partial = partial_rows;
    for (int32_t chunk = whole.first_chunk; chunk < whole.end_chunk; ++chunk) {
      const Unit piece{whole.tile, chunk, chunk + 1, partial_rows};
      if (chunk == whole.first_chunk) {
        plan.units[i] = piece;
      } else {
        plan.units.push_back(piece);
      }
      partial_rows += whole.tile.tile_rows();
    }
  }
  plan.partials.Reserve(partial_rows, call.head_dim());
  plan.partial_bytes = partial_rows * (call.head_dim() + 2) * static_cast<int64_t>(sizeof(float));
  // The largest first, so that no thread is left with a large one at the end.
  std::stable_sort(plan.units.begin(), plan.units.end(),
                   [](const Unit& a, const Unit& b) { return a.work() > b.work(); });
}

void WriteOut(const AttentionCall& call, const QueryTile& tile, const AttentionState& state) {
  const AttentionRows& sequence = call.sequences[static_cast<size_t>(tile.sequence)];
  const int64_t dim = call.head_dim();
  for (int64_t r = 0; r < tile.tile_rows(); ++r) {
    const int64_t row = sequence.first_row + tile.first_row + r / tile.heads;
    float* out = call.out.row(row) + (tile.first_head + r % tile.heads) * dim;
    call.kernels.finish(state.output + r * dim, state.sum[r], dim, out);
    RotateBack(call, out, 1);
  }
}

AttentionTile ChunkOf(PackedTile& packed, int32_t chunk) {
  const int64_t first_block = int64_t{chunk} * kChunkBlocks;
  const int64_t blocks = BlocksFor(packed.end_visible());
  AttentionTile tile =
      packed.Against(first_block, std::min(int64_t{kChunkBlocks}, blocks - first_block));
  if (tile.rows <= kPrefetchRows) tile.ahead = packed.Ahead(first_block, tile.blocks);
  return tile;
}

void RunUnit(const AttentionCall& call, const Unit& unit, Plan& plan) {
  ThreadScratch& scratch = Scratch();
  scratch.packed.Pack(call, unit.tile);
  if (unit.partial != kNotSplit) {
    call.kernels.chunk(ChunkOf(scratch.packed, unit.first_chunk), plan.partials.From(unit.partial));
    return;
  }
  const int64_t rows = unit.tile.tile_rows();
  scratch.part.Reserve(rows, call.head_dim());
  scratch.total.Reserve(rows, call.head_dim());
  const AttentionState part = scratch.part.From(0), total = scratch.total.From(0);
  std::fill_n(total.sum, rows, 0.0f);
  for (int32_t chunk = unit.first_chunk; chunk < unit.end_chunk; ++chunk) {
    call.kernels.chunk(ChunkOf(scratch.packed, chunk), part);
    call.kernels.merge(total, part, rows, call.head_dim());
  }
  WriteOut(call, unit.tile, total);
}

// Merges the states of a split tile, in order of position.
void MergeSplitTile(const AttentionCall& call, const Unit& whole, Plan& plan) {
  const int64_t rows = whole.tile.tile_rows();
  StateBuffer& buffer = Scratch().total;
  buffer.Reserve(rows, call.head_dim());
  const AttentionState total = buffer.From(0);
  std::fill_n(total.sum, rows, 0.0f);
  for (int64_t i = 0; i < whole.end_chunk - whole.first_chunk; ++i) {
    call.kernels.merge(total, plan.partials.From(whole.partial + i * rows), rows, call.head_dim());
  }
  WriteOut(call, whole.tile, total);
}

}  // namespace

const AttentionKernels& AttentionKernelsFor(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return flash_attention_internal::kAvx512;
  if (isa == Isa::kAvxVnni) return flash_attention_internal::kAvxVnni;
  if (isa == Isa::kAvx2) return flash_attention_internal::kAvx2;
#else
  static_cast<void>(isa);
#endif
  return flash_attention_internal::kScalar;
}

int64_t FlashAttention(const AttentionKernels& kernels, ThreadPool& pool, const KvStore& kv,
                       int32_t layer, const AttentionConfig& config,
                       std::span<const AttentionRows> sequences, MatrixView<const float> q,
                       MatrixView<float> out) {
  const AttentionCall call{kernels, kv, layer, config, sequences, q, out};
  CheckAttentionCall(call);
  thread_local Plan reused_plan;
  Plan& plan = reused_plan;  // the caller's, also where the workers read it
  MakePlan(call, pool.threads(), plan);
  pool.ParallelFor(static_cast<int64_t>(plan.units.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) RunUnit(call, plan.units[static_cast<size_t>(i)], plan);
  });
  pool.ParallelFor(static_cast<int64_t>(plan.split_tiles.size()), 1,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) {
                       MergeSplitTile(call, plan.split_tiles[static_cast<size_t>(i)], plan);
                     }
                   });
  return plan.partial_bytes;
}

}  // namespace millrace
