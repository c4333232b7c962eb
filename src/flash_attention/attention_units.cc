#include "flash_attention/attention_units.h"

#include <algorithm>
#include <limits>
#include <numbers>

#include "base/check.h"

namespace millrace {

int32_t FirstVisible(const AttentionConfig& config, int32_t position) {
  if (!config.window.has_value() || *config.window > position) return 0;
  return position - *config.window + 1;
}

void CheckAttentionCall(const AttentionCall& call) {
  const KvShape& shape = call.kv.shape();
  const int64_t width = int64_t{call.config.heads} * shape.head_dim;
  CHECK(call.config.heads > 0 && call.config.heads % shape.kv_heads == 0);
  CHECK(call.layer >= 0 && call.layer < shape.layers);
  CHECK(call.q.columns == width && call.out.columns == width);
  CHECK(!call.config.window.has_value() || *call.config.window >= 1);
  for (const AttentionRows& sequence : call.sequences) {
    CHECK(sequence.first_row >= 0 && sequence.rows >= 0 && sequence.first_position >= 0);
    CHECK(sequence.first_row + sequence.rows <= std::min(call.q.rows, call.out.rows));
    const int64_t positions = sequence.first_position + sequence.rows;
    CHECK(positions <= static_cast<int64_t>(sequence.block_table.size()) * kBlockTokens);
  }
}

void PackedTile::Pack(const AttentionCall& call, const QueryTile& tile) {
  call_ = &call;
  tile_ = tile;
  const AttentionRows& sequence = call.sequences[static_cast<size_t>(tile.sequence)];
  const int64_t dim = call.head_dim();
  const int64_t rows = tile.tile_rows();
  const int64_t groups = (rows + kRowGroup - 1) / kRowGroup;
  q_.Reserve(static_cast<size_t>(groups * kRowGroup * dim));
  begin_.resize(static_cast<size_t>(rows));
  end_.resize(static_cast<size_t>(rows));
  const AttentionConfig& config = call.config;
  const float factor = config.softcap.has_value() ? config.scale / *config.softcap
                                                  : config.scale * std::numbers::log2e_v<float>;
  first_visible_ = std::numeric_limits<int32_t>::max();
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t query = tile.first_row + row / tile.heads;
    const int64_t head = tile.first_head + row % tile.heads;
    const float* from = call.q.row(sequence.first_row + query) + head * dim;
    float* to = q_.data() + row / kRowGroup * kRowGroup * dim + row % kRowGroup;
    for (int64_t d = 0; d < dim; ++d) to[d * kRowGroup] = from[d] * factor;
    const int32_t position = sequence.first_position + static_cast<int32_t>(query);
    begin_[static_cast<size_t>(row)] = FirstVisible(config, position);
    end_[static_cast<size_t>(row)] = position + 1;
    first_visible_ = std::min(first_visible_, begin_[static_cast<size_t>(row)]);
    end_visible_ = position + 1;  // positions only rise
  }
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
  return {.q = q_.data(),
          .rows = tile_.tile_rows(),
          .head_dim = call_->head_dim(),
          .bf16 = call_->kv.type() == KvType::kBf16,
          .cap = config.softcap.has_value() ? *config.softcap * std::numbers::log2e_v<float> : 0.0f,
          .keys = keys_.data(),
          .values = values_.data(),
          .blocks = blocks,
          .begin = begin_here_.data(),
          .end = end_here_.data()};
}

}  // namespace millrace
