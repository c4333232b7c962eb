#include "model/encoder.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "gguf/gguf.h"

namespace millrace {
namespace {

// Rows handed to a thread at a time in row-wise phases.
constexpr int64_t kEncoderRowGrain = 8;

}  // namespace

Result<std::unique_ptr<Encoder>> Encoder::Load(const GgufFile& file, const EncoderOptions& options,
                                               ThreadPool& pool) {
  ASSIGN_OR_RETURN(EncoderConfig config, ReadEncoderConfig(file));
  const TransformerConfig& c = config.common;
  if (c.kv_heads != c.heads || c.query_width() != c.width) {
    return Error{file.name() +
                     ": an encoder whose heads together are not as wide as the model, or "
                     "share keys, is not supported",
                 ErrorKind::kUnsupported};
  }
  ASSIGN_OR_RETURN(EncoderWeights weights, LoadEncoderWeights(file, config, pool, options.weights));
  // One layer's keys and values at a time; each text begins a block.
  const int32_t rows = std::max(options.max_rows, c.context_length);
  ASSIGN_OR_RETURN(KvStore kv, KvStore::Create({1, c.kv_heads, c.head_dim}, KvType::kF32,
                                               BlocksFor(rows) + options.max_texts));
  return std::unique_ptr<Encoder>(
      new Encoder(std::move(config), std::move(weights), options, pool, std::move(kv)));
}

Encoder::Encoder(EncoderConfig config, EncoderWeights weights, const EncoderOptions& options,
                 ThreadPool& pool, KvStore kv)
    : config_(std::move(config)),
      weights_(std::move(weights)),
      max_rows_(std::max(options.max_rows, config_.common.context_length)),
      max_texts_(options.max_texts),
      pool_(pool),
      nn_(NnKernelsFor(options.isa)),
      matmul_(MatMulKernelsFor(options.isa)),
      attention_kernels_(AttentionKernelsFor(options.isa)),
      rope_(config_.common.rope, config_.has_rope ? config_.common.context_length : 1),
      kv_(std::move(kv)),
      input_(nn_, matmul_, pool_) {}

MatrixView<const float> Encoder::Forward(std::span<const EncoderInput> texts) {
  PlaceRows(texts);
  Embed();
  for (const EncoderLayerWeights& w : weights_.layers) {
    ProjectQkv(w);
    Attend();
    Project(Matrix(attended_, config_.common.width), w.attention_output, w.attention_output_bias);
    AddAndNormalise(w.attention_norm);
    FeedForward(w);
    AddAndNormalise(w.output_norm);
  }
  return Matrix(hidden_, config_.common.width);
}

void Encoder::PlaceRows(std::span<const EncoderInput> texts) {
  CHECK(texts.size() <= static_cast<size_t>(max_texts_));
  rows_.clear();
  attention_rows_.clear();
  block_tables_.resize(texts.size());
  int32_t next_block = 0;
  for (size_t t = 0; t < texts.size(); ++t) {
    const EncoderInput& text = texts[t];
    const auto count = static_cast<int32_t>(text.tokens.size());
    CHECK(count > 0 && count <= config_.common.context_length);
    std::vector<BlockId>& table = block_tables_[t];
    table.clear();
    for (int32_t b = 0; b < BlocksFor(count); ++b) table.push_back(BlockId(next_block++));
    attention_rows_.push_back({rows(), count, 0, table});
    for (int32_t i = 0; i < count; ++i) {
      const int32_t type = i >= text.second_text && config_.token_types > 1 ? 1 : 0;
      rows_.push_back({text.tokens[static_cast<size_t>(i)], i, type,
                       table[static_cast<size_t>(i / kBlockTokens)]});
    }
  }
  CHECK(rows() <= max_rows_);
}

// hidden = norm(token + type + position)
void Encoder::Embed() {
  const MatrixView<float> x = Matrix(hidden_, config_.common.width);
  pool_.ParallelFor(x.rows, kEncoderRowGrain, [&](int64_t begin, int64_t end) {
    std::vector<float> other(static_cast<size_t>(x.columns));
    for (int64_t i = begin; i < end; ++i) {
      const Row& row = rows_[static_cast<size_t>(i)];
      weights_.token_embedding.DequantizeRow(row.token.value, {x.row(i), other.size()});
      if (weights_.type_embedding) {
        weights_.type_embedding->DequantizeRow(row.type, other);
        nn_.add(x.row(i), other.data(), x.columns);
      }
      if (weights_.position_embedding) {
        weights_.position_embedding->DequantizeRow(row.position, other);
        nn_.add(x.row(i), other.data(), x.columns);
      }
      nn_.layer_norm(x.row(i), weights_.embedding_norm.weight.data(),
                     weights_.embedding_norm.bias.data(), config_.common.norm_epsilon, x.columns,
                     x.row(i));
    }
  });
}

// qkv [rows, 3E], and from there keys and values to the store.
void Encoder::ProjectQkv(const EncoderLayerWeights& w) {
  const int64_t e = config_.common.width;
  const int32_t heads = config_.common.heads, d = config_.common.head_dim;
  const MatrixView<float> qkv = Matrix(qkv_, 3 * e);
  ActivationForms forms{};
  for (const WeightMatrix& matrix : w.qkv) forms = forms | ActivationForms::For(matrix.type());
  input_.Set(Matrix(hidden_, e), forms);
  int64_t column = 0;
  for (const WeightMatrix& matrix : w.qkv) {
    const MatrixView<float> y{qkv.data + column, qkv.rows, matrix.rows(), qkv.stride};
    const float* bias = w.qkv_bias.empty() ? nullptr : w.qkv_bias.data() + column;
    Multiply(matrix, y, [&](int64_t i, int64_t first, int64_t count) {
      if (bias != nullptr) nn_.add(y.row(i) + first, bias + first, count);
    });
    column += matrix.rows();
  }
  pool_.ParallelFor(qkv.rows, kEncoderRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Row& row = rows_[static_cast<size_t>(i)];
      float* q = qkv.row(i);
      if (config_.has_rope) {
        rope_.Apply(nn_, q, heads, d, row.position);
        rope_.Apply(nn_, q + e, heads, d, row.position);
      }
      kv_.Write(0, row.block, row.position % kBlockTokens, q + e, q + 2 * e);
    }
  });
}

void Encoder::Attend() {
  const int64_t e = config_.common.width;
  const AttentionConfig attention{.heads = config_.common.heads,
                                  .scale = config_.common.attention_scale,
                                  .softcap = {},
                                  .window = {},
                                  .mask = AttentionMask::kAll};
  MatrixView<float> q = Matrix(qkv_, 3 * e);
  q.columns = e;
  FlashAttention(attention_kernels_, pool_, kv_, 0, attention, attention_rows_, q,
                 Matrix(attended_, e));
}

// projected = W_down activation(hidden)
void Encoder::FeedForward(const EncoderLayerWeights& w) {
  const MatrixView<float> up = Matrix(up_, config_.common.ff_width);
  const auto add_bias = [&](int64_t i, int64_t first, int64_t count) {
    if (!w.up_bias.empty()) nn_.add(up.row(i) + first, w.up_bias.data() + first, count);
  };
  input_.Set(Matrix(hidden_, config_.common.width),
             w.gate ? ActivationForms::For(w.gate->type()) | ActivationForms::For(w.up.type())
                    : ActivationForms::For(w.up.type()));
  if (w.gate) {
    const MatrixView<float> gate = Matrix(gate_, config_.common.ff_width);
    Multiply(*w.gate, gate, [](int64_t, int64_t, int64_t) {});
    Multiply(w.up, up, [&](int64_t i, int64_t first, int64_t count) {
      add_bias(i, first, count);
      float* row = up.row(i) + first;
      nn_.silu_multiply(gate.row(i) + first, row, count, row);
    });
  } else {
    Multiply(w.up, up, [&](int64_t i, int64_t first, int64_t count) {
      add_bias(i, first, count);
      nn_.gelu_erf(up.row(i) + first, count);
    });
  }
  Project(up, w.down, w.down_bias);
}

// projected = W x + bias
void Encoder::Project(MatrixView<const float> x, const WeightMatrix& w,
                      const std::vector<float>& bias) {
  const MatrixView<float> y = Matrix(projected_, config_.common.width);
  input_.Set(x, ActivationForms::For(w.type()));
  Multiply(w, y, [&](int64_t i, int64_t first, int64_t count) {
    if (!bias.empty()) nn_.add(y.row(i) + first, bias.data() + first, count);
  });
}

// hidden = norm(hidden + projected)
void Encoder::AddAndNormalise(const LayerNormWeights& norm) {
  const MatrixView<float> x = Matrix(hidden_, config_.common.width);
  const MatrixView<float> y = Matrix(projected_, config_.common.width);
  pool_.ParallelFor(x.rows, kEncoderRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      nn_.add(x.row(i), y.row(i), x.columns);
      nn_.layer_norm(x.row(i), norm.weight.data(), norm.bias.data(), config_.common.norm_epsilon,
                     x.columns, x.row(i));
    }
  });
}

// y = W input; finish(row, first column, columns) for each row's part that a task has computed.
template <class Finish>
void Encoder::Multiply(const WeightMatrix& w, MatrixView<float> y, Finish finish) {
  pool_.ParallelFor(
      w.panels(), PanelsPerTask(w, pool_.threads()),
      [&](int thread) -> const Activations& { return input_.For(thread); },
      [&](const Activations& input, int64_t begin, int64_t end) {
        MatMulPanels(matmul_, w, input, y, begin, end);
        const int64_t first = begin * kPanelRows;
        const int64_t count = std::min(end * kPanelRows, y.columns) - first;
        for (int64_t i = 0; i < y.rows; ++i) finish(i, first, count);
      });
}

// One row for each of the batch; what a larger buffer held is lost, and a batch keeps its size
// throughout one Forward.
MatrixView<float> Encoder::Matrix(AlignedBuffer<float>& buffer, int64_t columns) {
  buffer.Reserve(static_cast<size_t>(rows() * columns));
  return {buffer.data(), rows(), columns, columns};
}

}  // namespace millrace
