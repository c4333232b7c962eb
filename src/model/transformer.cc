#include "model/transformer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "gguf/gguf.h"

namespace millrace {
namespace {

// Rows handed to a thread at a time in row-wise phases.
constexpr int64_t kRowGrain = 4;

int64_t WeightBytes(const TransformerWeights& w) {
  size_t bytes = w.token_embedding.bytes() + (w.output ? w.output->bytes() : 0);
  for (const LayerWeights& l : w.layers) {
    for (const WeightMatrix* m : {&l.q, &l.k, &l.v, &l.attention_output, &l.gate, &l.up, &l.down})
      bytes += m->bytes();
  }
  return static_cast<int64_t>(bytes);
}

int64_t LayerMacs(const TransformerWeights& w) {
  int64_t macs = 0;
  for (const LayerWeights& l : w.layers) {
    for (const WeightMatrix* m : {&l.q, &l.k, &l.v, &l.attention_output, &l.gate, &l.up, &l.down})
      macs += m->rows() * m->columns();
  }
  return macs;
}

}  // namespace

Result<std::unique_ptr<Transformer>> Transformer::Load(const GgufFile& file,
                                                       const TransformerOptions& options,
                                                       ThreadPool& pool,
                                                       const LoadProgress& progress) {
  ASSIGN_OR_RETURN(TransformerConfig config, ReadTransformerConfig(file));
  ASSIGN_OR_RETURN(TransformerWeights weights,
                   LoadTransformerWeights(file, config, pool, progress, options.weights));
  std::unique_ptr<Transformer> model(
      new Transformer(std::move(config), std::move(weights), options, pool));
  const auto name = file.FindString("general.name");
  model->info_.name = name.ok() && *name ? std::string(**name) : file.name();
  for (const GgufTensor& t : file.tensors()) model->info_.parameters += t.elements();
  return model;
}

Transformer::Transformer(TransformerConfig config, TransformerWeights weights,
                         const TransformerOptions& options, ThreadPool& pool)
    : config_(std::move(config)),
      weights_(std::move(weights)),
      attention_(options.attention),
      pool_(pool),
      nn_(NnKernelsFor(options.isa)),
      matmul_(MatMulKernelsFor(options.isa)),
      attention_kernels_(AttentionKernelsFor(options.isa)),
      global_rope_(config_.rope, options.max_positions),
      local_rope_(config_.local_rope.value_or(config_.rope),
                  config_.local_rope ? options.max_positions : 1) {
  info_.architecture = config_.architecture;
  info_.vocab_size = config_.vocab_size;
  info_.context_length = config_.context_length;
  info_.kv_shape = {config_.layers, config_.kv_heads, config_.head_dim};
  info_.weight_bytes = WeightBytes(weights_);
  info_.step_weight_bytes =
      info_.weight_bytes -
      (weights_.output ? static_cast<int64_t>(weights_.token_embedding.bytes()) : 0);
  info_.layer_macs = LayerMacs(weights_);
}

MatrixView<const float> Transformer::Forward(const Batch& batch, KvStore& kv) {
  PlaceRows(batch);
  Embed();
  for (int32_t layer = 0; layer < config_.layers; ++layer) {
    AttentionSublayer(layer, kv);
    FeedForwardSublayer(layer);
  }
  return Logits();
}

void Transformer::PlaceRows(const Batch& batch) {
  rows_.clear();
  attention_rows_.clear();
  for (const BatchSequence& s : batch.sequences) {
    const auto count = static_cast<int32_t>(s.tokens.size());
    CHECK(count > 0 && s.logit_rows <= count);
    attention_rows_.push_back(
        {static_cast<int64_t>(rows_.size()), count, s.first_position, s.block_table});
    for (int32_t i = 0; i < count; ++i) {
      const int32_t position = s.first_position + i;
      rows_.push_back({position, s.block_table[static_cast<size_t>(position / kBlockTokens)],
                       s.tokens[static_cast<size_t>(i)], i >= count - s.logit_rows});
    }
  }
}

void Transformer::Embed() {
  MatrixView<float> x = Matrix(residual_, static_cast<int64_t>(rows_.size()), config_.width);
  pool_.ParallelFor(x.rows, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const std::span<float> row(x.row(i), static_cast<size_t>(x.columns));
      weights_.token_embedding.DequantizeRow(rows_[static_cast<size_t>(i)].token.value, row);
      if (config_.embedding_scale != 1.0f)
        nn_.scale(row.data(), config_.embedding_scale, x.columns);
    }
  });
}

void Transformer::AttentionSublayer(int32_t layer, KvStore& kv) {
  const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
  const auto m = static_cast<int64_t>(rows_.size());
  MatrixView<float> x = Matrix(residual_, m, config_.width);
  MatrixView<float> normed = Matrix(normed_, m, config_.width);
  MatrixView<float> q = Matrix(q_, m, config_.query_width());
  MatrixView<float> k = Matrix(k_, m, config_.kv_width());
  MatrixView<float> v = Matrix(v_, m, config_.kv_width());
  MatrixView<float> attended = Matrix(attended_, m, config_.query_width());
  MatrixView<float> projected = Matrix(projected_, m, config_.width);

  Normalise(x, w.attention_norm, normed);
  activations_.Assign(matmul_, pool_, normed);
  MatMul(matmul_, pool_, w.q, activations_, q);
  MatMul(matmul_, pool_, w.k, activations_, k);
  MatMul(matmul_, pool_, w.v, activations_, v);
  AddBias(q, w.q_bias);
  AddBias(k, w.k_bias);
  AddBias(v, w.v_bias);
  RotateAndStore(layer, kv);

  const bool local = config_.is_local[static_cast<size_t>(layer)];
  const AttentionConfig attention{config_.heads, config_.attention_scale, config_.attention_softcap,
                                  local ? config_.window : std::nullopt};
  if (attention_ == AttentionKind::kFlash) {
    FlashAttention(attention_kernels_, pool_, kv, layer, attention, attention_rows_, q, attended);
  } else {
    StandardAttention(attention_kernels_, pool_, kv, layer, attention, attention_rows_, q,
                      attended);
  }
  activations_.Assign(matmul_, pool_, attended);
  MatMul(matmul_, pool_, w.attention_output, activations_, projected);
  AddBias(projected, w.attention_output_bias);
  AddToResidual(projected, w.post_attention_norm);
}

void Transformer::FeedForwardSublayer(int32_t layer) {
  const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
  const auto m = static_cast<int64_t>(rows_.size());
  MatrixView<float> x = Matrix(residual_, m, config_.width);
  MatrixView<float> normed = Matrix(normed_, m, config_.width);
  MatrixView<float> gate = Matrix(gate_, m, config_.ff_width);
  MatrixView<float> up = Matrix(up_, m, config_.ff_width);
  MatrixView<float> projected = Matrix(projected_, m, config_.width);

  Normalise(x, w.ff_norm, normed);
  activations_.Assign(matmul_, pool_, normed);
  MatMul(matmul_, pool_, w.gate, activations_, gate);
  MatMul(matmul_, pool_, w.up, activations_, up);
  const auto multiply =
      config_.activation == FeedForwardActivation::kSilu ? nn_.silu_multiply : nn_.gelu_multiply;
  pool_.ParallelFor(m, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      multiply(gate.row(i), up.row(i), gate.columns, gate.row(i));
  });
  activations_.Assign(matmul_, pool_, gate);
  MatMul(matmul_, pool_, w.down, activations_, projected);
  AddToResidual(projected, w.post_ff_norm);
}

// Only rows whose logits are wanted go through the output matrix.
MatrixView<const float> Transformer::Logits() {
  const auto m = static_cast<int64_t>(rows_.size());
  const MatrixView<float> x = Matrix(residual_, m, config_.width);
  const int64_t wanted =
      std::count_if(rows_.begin(), rows_.end(), [](const Row& r) { return r.wants_logits; });
  MatrixView<float> normed = Matrix(normed_, wanted, config_.width);
  MatrixView<float> logits = Matrix(logits_, wanted, config_.vocab_size);
  if (wanted == 0) return logits;
  int64_t out = 0;
  for (int64_t i = 0; i < m; ++i) {
    if (!rows_[static_cast<size_t>(i)].wants_logits) continue;
    nn_.rms_norm(x.row(i), weights_.output_norm.data(), config_.norm_epsilon, x.columns,
                 normed.row(out++));
  }
  activations_.Assign(matmul_, pool_, normed);
  MatMul(matmul_, pool_, weights_.output_matrix(), activations_, logits);
  if (config_.logit_softcap) {
    const float cap = *config_.logit_softcap;
    for (int64_t i = 0; i < wanted; ++i) {
      for (int64_t n = 0; n < logits.columns; ++n)
        logits.row(i)[n] = cap * std::tanh(logits.row(i)[n] / cap);
    }
  }
  return logits;
}

void Transformer::Normalise(MatrixView<const float> x, const std::vector<float>& weight,
                            MatrixView<float> out) {
  pool_.ParallelFor(x.rows, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      nn_.rms_norm(x.row(i), weight.data(), config_.norm_epsilon, x.columns, out.row(i));
    }
  });
}

void Transformer::AddBias(MatrixView<float> x, const std::vector<float>& bias) {
  if (bias.empty()) return;
  for (int64_t i = 0; i < x.rows; ++i) nn_.add(x.row(i), bias.data(), x.columns);
}

// Per row: normalise heads where the architecture does, rotate Q and K, write K and V to the row's
// block.
void Transformer::RotateAndStore(int32_t layer, KvStore& kv) {
  const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
  const Rope& rope = config_.is_local[static_cast<size_t>(layer)] && config_.local_rope
                         ? local_rope_
                         : global_rope_;
  const auto m = static_cast<int64_t>(rows_.size());
  const int32_t d = config_.head_dim;
  MatrixView<float> q = Matrix(q_, m, config_.query_width());
  MatrixView<float> k = Matrix(k_, m, config_.kv_width());
  MatrixView<float> v = Matrix(v_, m, config_.kv_width());
  const auto normalise_heads = [&](float* heads, int32_t count, const std::vector<float>& weight) {
    if (weight.empty()) return;
    for (int32_t h = 0; h < count; ++h) {
      nn_.rms_norm(heads + h * d, weight.data(), config_.norm_epsilon, d, heads + h * d);
    }
  };
  pool_.ParallelFor(m, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Row& row = rows_[static_cast<size_t>(i)];
      normalise_heads(q.row(i), config_.heads, w.q_norm);
      normalise_heads(k.row(i), config_.kv_heads, w.k_norm);
      rope.Apply(nn_, q.row(i), config_.heads, d, row.position);
      rope.Apply(nn_, k.row(i), config_.kv_heads, d, row.position);
      kv.Write(layer, row.block, row.position % kBlockTokens, k.row(i), v.row(i));
    }
  });
}

void Transformer::AddToResidual(MatrixView<float> x, const std::vector<float>& post_norm) {
  MatrixView<float> residual = Matrix(residual_, x.rows, x.columns);
  pool_.ParallelFor(x.rows, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (!post_norm.empty())
        nn_.rms_norm(x.row(i), post_norm.data(), config_.norm_epsilon, x.columns, x.row(i));
      nn_.add(residual.row(i), x.row(i), x.columns);
    }
  });
}

// A view of the buffer's beginning; the buffer grows (losing its contents) when it is too small.
// Buffers are asked for with the same shape throughout one Forward, so nothing is lost within it.
MatrixView<float> Transformer::Matrix(AlignedBuffer<float>& buffer, int64_t rows, int64_t columns) {
  buffer.Reserve(static_cast<size_t>(rows * columns));
  return {buffer.data(), rows, columns, columns};
}

}  // namespace millrace
