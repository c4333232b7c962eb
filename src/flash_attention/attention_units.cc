#include "flash_attention/attention_units.h"

#include <algorithm>
#include <limits>
#include <numbers>
#include <numeric>

#include "base/check.h"
#include "paged_kv/quantised_head.h"

namespace millrace {

namespace {

// How far ahead memory is asked for. Measured with attention_bench, decode:65536, two threads: a
// block of q8_0 is small and soon done with (one ahead 28 GB/s, eight 59); of the others, one ahead
// is as good as any.
int64_t BlocksAhead(KvType type, int64_t block_bytes) {
  constexpr int64_t kBytesAhead = 16 << 10;
  return type == KvType::kQ8_0 ? std::max(int64_t{1}, kBytesAhead / block_bytes) : 1;
}

}  // namespace

int32_t FirstVisible(const AttentionConfig& config, int32_t position) {
  if (!config.window.has_value() || *config.window > position) return 0;
  return position - *config.window + 1;
}

int32_t EndVisible(const AttentionConfig& config, const AttentionRows& sequence, int32_t position) {
  if (config.mask == AttentionMask::kCausal) return position + 1;
  return sequence.first_position + static_cast<int32_t>(sequence.rows);
}

void CheckAttentionCall(const AttentionCall& call) {
  const KvShape& shape = call.kv.shape();
  const int64_t width = int64_t{call.config.heads} * shape.head_dim;
  CHECK(call.config.heads > 0 && call.config.heads % shape.kv_heads == 0);
  CHECK(call.layer >= 0 && call.layer < shape.layers);
  CHECK(call.q.columns == width && call.out.columns == width);
  CHECK(!call.config.window.has_value() || *call.config.window >= 1);
  CHECK(!call.config.window.has_value() || call.config.mask == AttentionMask::kCausal);
  for (const AttentionRows& sequence : call.sequences) {
    CHECK(sequence.first_row >= 0 && sequence.rows >= 0 && sequence.first_position >= 0);
    CHECK(sequence.first_row + sequence.rows <= std::min(call.q.rows, call.out.rows));
    const int64_t positions = sequence.first_position + sequence.rows;
    CHECK(positions <= static_cast<int64_t>(sequence.block_table.size()) * kBlockTokens);
  }
}

void RotateBack(const AttentionCall& call, float* out, int64_t heads) {
  if (call.kv.type() != KvType::kQ8_0) return;
  const int32_t dim = call.kv.shape().head_dim;
  for (int64_t h = 0; h < heads; ++h) RotateHead(out + h * dim, dim);
}

// Rows of 8 lie together, so that a step of the dimension finds its rows side by side.
void PackedTile::PackRow(const float* query, int64_t row) {
  const int64_t dim = call_->head_dim();
  const int64_t group = row / kRowGroup * kRowGroup, lane = row % kRowGroup;
  const AttentionConfig& config = call_->config;
  const float factor = config.softcap.has_value() ? config.scale / *config.softcap
                                                  : config.scale * std::numbers::log2e_v<float>;
  switch (call_->kv.type()) {
    case KvType::kF32: {
      float* to = q_.data() + group * dim + lane;
      for (int64_t d = 0; d < dim; ++d) to[d * kRowGroup] = query[d] * factor;
      break;
    }
    case KvType::kBf16: {
      uint16_t* to = q_pairs_.data() + group * dim + 2 * lane;
      for (int64_t d = 0; d < dim; d += 2) {
        to[d * kRowGroup] = ToStoredBf16(query[d] * factor);
        to[d * kRowGroup + 1] = ToStoredBf16(query[d + 1] * factor);
      }
      break;
    }
    case KvType::kQ8_0: {
      const int64_t padded = PaddedToSixteen(static_cast<int32_t>(dim));
      row_codes_.resize(static_cast<size_t>(padded));
      const auto i = static_cast<size_t>(row);
      q_scales_[i] = factor * QuantiseHead(query, static_cast<int32_t>(dim), row_codes_.data());
      q_sums_[i] = std::accumulate(row_codes_.begin(), row_codes_.end(), 0);
      int8_t* to = q_codes_.data() + group * padded + 4 * lane;
      for (int64_t d = 0; d < padded; d += 4) {
        std::copy_n(row_codes_.data() + d, 4, to + d * kRowGroup);
      }
      break;
    }
  }
}

void PackedTile::Pack(const AttentionCall& call, const QueryTile& tile) {
  call_ = &call;
  tile_ = tile;
  const AttentionRows& sequence = call.sequences[static_cast<size_t>(tile.sequence)];
  const int64_t dim = call.head_dim();
  const int64_t rows = tile.tile_rows();
  const int64_t room =
      (rows + kRowGroup - 1) / kRowGroup * kRowGroup * PaddedToSixteen(static_cast<int32_t>(dim));
  q_.Reserve(static_cast<size_t>(call.kv.type() == KvType::kF32 ? room : 0));
  q_pairs_.Reserve(static_cast<size_t>(call.kv.type() == KvType::kBf16 ? room : 0));
  q_codes_.Reserve(static_cast<size_t>(call.kv.type() == KvType::kQ8_0 ? room : 0));
  q_scales_.resize(static_cast<size_t>(rows));
  q_sums_.resize(static_cast<size_t>(rows));
  begin_.resize(static_cast<size_t>(rows));
  end_.resize(static_cast<size_t>(rows));
  first_visible_ = std::numeric_limits<int32_t>::max();
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t query = tile.first_row + row / tile.heads;
    const int64_t head = tile.first_head + row % tile.heads;
    PackRow(call.q.row(sequence.first_row + query) + head * dim, row);
    const int32_t position = sequence.first_position + static_cast<int32_t>(query);
    begin_[static_cast<size_t>(row)] = FirstVisible(call.config, position);
    end_[static_cast<size_t>(row)] = EndVisible(call.config, sequence, position);
    first_visible_ = std::min(first_visible_, begin_[static_cast<size_t>(row)]);
    end_visible_ = end_[static_cast<size_t>(row)];  // which only rises
  }
}

const std::byte* PackedTile::KeysOf(int64_t block) const {
  const AttentionRows& sequence = call_->sequences[static_cast<size_t>(tile_.sequence)];
  const int64_t last = BlocksFor(end_visible_) - 1;
  const BlockId id = sequence.block_table[static_cast<size_t>(std::min(block, last))];
  return call_->kv.Keys(call_->layer, id, tile_.kv_head);
}

const std::byte* const* PackedTile::Ahead(int64_t first_block, int64_t blocks) {
  const int64_t distance = BlocksAhead(call_->kv.type(), call_->kv.head_bytes());
  ahead_.resize(static_cast<size_t>(2 * blocks));
  for (int64_t i = 0; i < 2 * blocks; ++i) {
    const int64_t later = i + distance;
    ahead_[static_cast<size_t>(i)] = later < blocks ? keys_[static_cast<size_t>(later)]
                                     : later < 2 * blocks
                                         ? values_[static_cast<size_t>(later - blocks)]
                                         : KeysOf(first_block + later - blocks);
  }
  return ahead_.data();
}

AttentionTile PackedTile::Against(int64_t first_block, int64_t blocks) {
  const AttentionRows& sequence = call_->sequences[static_cast<size_t>(tile_.sequence)];
  const int32_t shift = static_cast<int32_t>(first_block * kBlockTokens);
  begin_here_.resize(begin_.size());
  end_here_.resize(end_.size());
  for (size_t row = 0; row < begin_.size(); ++row) {
    begin_here_[row] = begin_[row] - shift;
    end_here_[row] = end_[row] - shift;
  }
  keys_.resize(static_cast<size_t>(blocks));
  values_.resize(static_cast<size_t>(blocks));
  for (int64_t b = 0; b < blocks; ++b) {
    const BlockId id = sequence.block_table[static_cast<size_t>(first_block + b)];
    keys_[static_cast<size_t>(b)] = call_->kv.Keys(call_->layer, id, tile_.kv_head);
    values_[static_cast<size_t>(b)] = call_->kv.Values(call_->layer, id, tile_.kv_head);
  }
  const AttentionConfig& config = call_->config;
  return {.type = call_->kv.type(),
          .q = q_.data(),
          .q_pairs = q_pairs_.data(),
          .q_codes = q_codes_.data(),
          .q_scales = q_scales_.data(),
          .q_sums = q_sums_.data(),
          .rows = tile_.tile_rows(),
          .head_dim = call_->head_dim(),
          .padded_dim = PaddedToSixteen(call_->kv.shape().head_dim),
          .cap = config.softcap.has_value() ? *config.softcap * std::numbers::log2e_v<float> : 0.0f,
          .keys = keys_.data(),
          .values = values_.data(),
          .blocks = blocks,
          .ahead = nullptr,
          .begin = begin_here_.data(),
          .end = end_here_.data()};
}

}  // namespace millrace
