#include "model/transformer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>

#include "base/check.h"
#include "gguf/gguf.h"

namespace millrace {
namespace {

// Panels per task of a phase that reads `phase_bytes` of weights.
int64_t TaskPanels(const WeightMatrix& w, size_t phase_bytes, int64_t rows, int threads) {
  return IsWorthSharing(phase_bytes, rows) ? PanelsPerTask(w, threads) : w.panels();
}

ActivationForms FormsOf(const WeightMatrix& w) { return ActivationForms::For(w.type()); }

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

// Of one position without logits, which leaves the last layer after its keys and values.
int64_t LayerMacs(const TransformerWeights& w) {
  int64_t macs = 0;
  for (const LayerWeights& l : w.layers) {
    for (const WeightMatrix* m : {&l.q, &l.k, &l.v}) macs += m->rows() * m->columns();
    if (&l == &w.layers.back()) break;
    for (const WeightMatrix* m : {&l.attention_output, &l.gate, &l.up, &l.down})
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
                  config_.local_rope ? options.max_positions : 1),
      input_(nn_, matmul_, pool_),
      lora_(nn_, matmul_, pool_) {
  info_.architecture = config_.architecture;
  info_.vocab_size = config_.vocab_size;
  info_.context_length = config_.context_length;
  info_.heads = config_.heads;
  info_.kv_shape = {config_.layers, config_.kv_heads, config_.head_dim};
  info_.weight_bytes = WeightBytes(weights_);
  info_.step_weight_bytes =
      info_.weight_bytes -
      (weights_.output ? static_cast<int64_t>(weights_.token_embedding.bytes()) : 0);
  info_.layer_macs = LayerMacs(weights_);
}

Status Transformer::AddAdapter(const AdapterName& name, const GgufFile& file, float scale) {
  ASSIGN_OR_RETURN(LoraAdapter adapter, LoraAdapter::Load(file, scale, config_, weights_, pool_));
  info_.adapters.push_back({name.name, name.identity, adapter.bytes(), adapter.rank()});
  adapters_.push_back(std::make_unique<LoraAdapter>(std::move(adapter)));
  return {};
}

MatrixView<const float> Transformer::Forward(const Batch& batch, KvStore& kv) {
  Layers(batch, kv);
  return Logits();
}

MatrixView<const float> Transformer::Hidden(const Batch& batch, KvStore& kv) {
  Layers(batch, kv);
  const MatrixView<float> x = residual(), hidden = projected();
  pool_.ParallelFor(x.rows, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      nn_.rms_norm(x.row(i), weights_.output_norm.data(), config_.norm_epsilon, x.columns,
                   hidden.row(i));
  });
  return hidden;
}

void Transformer::Layers(const Batch& batch, KvStore& kv) {
  PlaceRows(batch);
  Embed();
  for (int32_t layer = 0; layer < config_.layers; ++layer) {
    const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
    ObserveNormalised(ProductInput::kQkv, layer, w.attention_norm);
    ProjectQueriesKeysValues(layer, kv);
    if (layer == config_.layers - 1) KeepRowsWithLogits(batch);
    if (rows_.empty()) break;
    Attend(layer, kv);
    if (observer_) observer_(ProductInput::kAttentionOutput, layer, attended());
    AddProjection(attended(), w.attention_output, w.attention_output_bias, w.post_attention_norm);
    ObserveNormalised(ProductInput::kGateAndUp, layer, w.ff_norm);
    GateAndUp(w);
    if (observer_) observer_(ProductInput::kDown, layer, gate());
    AddProjection(gate(), w.down, {}, w.post_ff_norm);
  }
}

void Transformer::PlaceRows(const Batch& batch) {
  rows_.clear();
  attention_rows_.clear();
  for (const BatchSequence& s : batch.sequences) {
    const auto count = static_cast<int32_t>(s.tokens.size());
    CHECK(count > 0 && s.logit_rows >= 0 && s.logit_rows <= count);
    const auto id = static_cast<size_t>(s.adapter.value_or(AdapterId(0)).value);
    CHECK(!s.adapter || id < adapters_.size());
    const LoraAdapter* adapter = s.adapter ? adapters_[id].get() : nullptr;
    attention_rows_.push_back({rows(), count, s.first_position, s.block_table});
    for (int32_t i = 0; i < count; ++i) {
      const int32_t position = s.first_position + i;
      rows_.push_back({position, s.block_table[static_cast<size_t>(position / kBlockTokens)],
                       s.tokens[static_cast<size_t>(i)], adapter});
    }
  }
  GroupByAdapter();
}

void Transformer::GroupByAdapter() {
  lora_.Clear();
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].adapter != nullptr) lora_.Use(static_cast<int64_t>(i), *rows_[i].adapter);
  }
}

// After the last layer's keys and values are written, a row is of use only for its own logits.
// Moves those that are wanted to the front, and drops the others.
void Transformer::KeepRowsWithLogits(const Batch& batch) {
  const MatrixView<float> x = residual(), q = queries();
  const auto move_row = [](MatrixView<float> m, int64_t from, int64_t to) {
    if (from != to) std::memcpy(m.row(to), m.row(from), static_cast<size_t>(m.columns) * 4);
  };
  attention_rows_.clear();
  int64_t first = 0, kept = 0;  // of the sequence; in all
  for (const BatchSequence& s : batch.sequences) {
    const auto count = static_cast<int32_t>(s.tokens.size());
    const int32_t dropped = count - s.logit_rows;
    if (s.logit_rows > 0) {
      attention_rows_.push_back({kept, s.logit_rows, s.first_position + dropped, s.block_table});
    }
    for (int64_t i = first + dropped; i < first + count; ++i, ++kept) {
      move_row(x, i, kept);
      move_row(q, i, kept);
      rows_[static_cast<size_t>(kept)] = rows_[static_cast<size_t>(i)];
    }
    first += count;
  }
  rows_.resize(static_cast<size_t>(kept));
  GroupByAdapter();
}

void Transformer::Embed() {
  const MatrixView<float> x = residual();
  pool_.ParallelFor(x.rows, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const std::span<float> row(x.row(i), static_cast<size_t>(x.columns));
      const Row& token = rows_[static_cast<size_t>(i)];
      weights_.token_embedding.DequantizeRow(token.token.value, row);
      if (token.adapter != nullptr) lora_.AddEmbedding(*token.adapter, token.token, row);
      if (config_.embedding_scale != 1.0f)
        nn_.scale(row.data(), config_.embedding_scale, x.columns);
    }
  });
}

// One phase: a task is a few heads of queries, or of keys and values, from the product to its end.
void Transformer::ProjectQueriesKeysValues(int32_t layer, KvStore& kv) {
  const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
  // Buffers grow here, not in the tasks.
  queries(), keys(), values();
  const int64_t q_heads = HeadsPerTask(w.q), kv_heads = HeadsPerTask(w.k);
  const int64_t kv_tasks = (config_.kv_heads + kv_heads - 1) / kv_heads;
  const int64_t q_tasks = (config_.heads + q_heads - 1) / q_heads;
  const int64_t tasks = kv_tasks + q_tasks;
  const bool shared = IsWorthSharing(w.q.bytes() + w.k.bytes() + w.v.bytes(), rows());
  input_.SetNormalised(residual(), w.attention_norm, config_.norm_epsilon,
                       FormsOf(w.q) | FormsOf(w.k) | FormsOf(w.v));
  lora_.Begin(input_, {&w.q, &w.k, &w.v});
  pool_.ParallelFor(
      tasks, shared ? 1 : tasks,
      [&](int thread) -> const Activations& { return input_.For(thread); },
      [&](const Activations& input, int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
          if (task < kv_tasks) {
            const int64_t first = task * kv_heads;
            KeysAndValues(layer, input,
                          {first, std::min<int64_t>(first + kv_heads, config_.kv_heads)}, kv);
          } else {
            const int64_t first = (task - kv_tasks) * q_heads;
            Queries(layer, input, {first, std::min<int64_t>(first + q_heads, config_.heads)});
          }
        }
      });
}

// Heads that begin and end with a panel, or with the matrix, and make a task of the usual size.
int64_t Transformer::HeadsPerTask(const WeightMatrix& w) const {
  const int64_t least = kPanelRows / std::gcd(kPanelRows, int64_t{config_.head_dim});
  const int64_t panels = least * config_.head_dim / kPanelRows;
  return least * std::max<int64_t>(1, PanelsPerTask(w, pool_.threads()) / panels);
}

void Transformer::Queries(int32_t layer, const Activations& input, Heads heads) {
  const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
  ProjectHeads(w.q, w.q_bias, input, heads, queries());
  NormaliseAndRotate(layer, w.q_norm, heads, queries());
}

void Transformer::KeysAndValues(int32_t layer, const Activations& input, Heads heads, KvStore& kv) {
  const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
  const MatrixView<float> k = keys(), v = values();
  ProjectHeads(w.k, w.k_bias, input, heads, k);
  ProjectHeads(w.v, w.v_bias, input, heads, v);
  NormaliseAndRotate(layer, w.k_norm, heads, k);
  for (int64_t i = 0; i < rows(); ++i) {
    const Row& row = rows_[static_cast<size_t>(i)];
    for (int64_t h = heads.first; h < heads.last; ++h) {
      kv.WriteHead(layer, row.block, row.position % kBlockTokens, static_cast<int32_t>(h),
                   k.row(i) + h * config_.head_dim, v.row(i) + h * config_.head_dim);
    }
  }
}

void Transformer::ProjectHeads(const WeightMatrix& w, const std::vector<float>& bias,
                               const Activations& input, Heads heads, MatrixView<float> y) {
  const int64_t first = heads.first * config_.head_dim, last = heads.last * config_.head_dim;
  const int64_t first_panel = first / kPanelRows;
  const int64_t last_panel = (last + kPanelRows - 1) / kPanelRows;
  MatMulPanels(matmul_, w, input, y, first_panel, last_panel);
  lora_.Add(w, y, first_panel, last_panel);
  for (int64_t i = 0; i < y.rows && !bias.empty(); ++i) {
    nn_.add(y.row(i) + first, bias.data() + first, last - first);
  }
}

// Normalises each head, where the architecture does, and rotates it by its position.
void Transformer::NormaliseAndRotate(int32_t layer, const std::vector<float>& norm, Heads heads,
                                     MatrixView<float> x) {
  const Rope& rope = config_.is_local[static_cast<size_t>(layer)] && config_.local_rope
                         ? local_rope_
                         : global_rope_;
  const int32_t d = config_.head_dim;
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t h = heads.first; h < heads.last && !norm.empty(); ++h) {
      float* head = x.row(i) + h * d;
      nn_.rms_norm(head, norm.data(), config_.norm_epsilon, d, head);
    }
    rope.Apply(nn_, x.row(i) + heads.first * d, static_cast<int32_t>(heads.last - heads.first), d,
               rows_[static_cast<size_t>(i)].position);
  }
}

void Transformer::Attend(int32_t layer, KvStore& kv) {
  const bool local = config_.is_local[static_cast<size_t>(layer)];
  const AttentionConfig attention{config_.heads, config_.attention_scale, config_.attention_softcap,
                                  local ? config_.window : std::nullopt};
  const auto attend = attention_ == AttentionKind::kFlash ? FlashAttention : StandardAttention;
  const TimePoint start = clock_.Now();
  statistics_.attention_bytes_written += attend(attention_kernels_, pool_, kv, layer, attention,
                                                attention_rows_, queries(), attended());
  statistics_.attention_seconds += Seconds(clock_.Now() - start);
}

// gate = activation(Wg norm(x)) * (Wu norm(x)), in one phase (Shazeer 2020, "GLU Variants").
void Transformer::GateAndUp(const LayerWeights& w) {
  const MatrixView<float> gate = this->gate(), up = this->up();
  const auto multiply =
      config_.activation == FeedForwardActivation::kSilu ? nn_.silu_multiply : nn_.gelu_multiply;
  input_.SetNormalised(residual(), w.ff_norm, config_.norm_epsilon,
                       FormsOf(w.gate) | FormsOf(w.up));
  lora_.Begin(input_, {&w.gate, &w.up});
  pool_.ParallelFor(
      w.gate.panels(), TaskPanels(w.gate, w.gate.bytes() + w.up.bytes(), rows(), pool_.threads()),
      [&](int thread) -> const Activations& { return input_.For(thread); },
      [&](const Activations& input, int64_t begin, int64_t end) {
        MatMulPanels(matmul_, w.gate, input, gate, begin, end);
        MatMulPanels(matmul_, w.up, input, up, begin, end);
        lora_.Add(w.gate, gate, begin, end);
        lora_.Add(w.up, up, begin, end);
        const int64_t first = begin * kPanelRows;
        const int64_t count = std::min(end * kPanelRows, gate.columns) - first;
        for (int64_t i = 0; i < gate.rows; ++i) {
          float* row = gate.row(i) + first;
          multiply(row, up.row(i) + first, count, row);
        }
      });
}

// residual += W x + bias, the sum normalised first where the architecture does.
void Transformer::AddProjection(MatrixView<const float> x, const WeightMatrix& w,
                                const std::vector<float>& bias,
                                const std::vector<float>& post_norm) {
  const MatrixView<float> sum = residual(), y = projected();
  input_.Set(x, FormsOf(w));
  Multiply(w, y, [&](int64_t first, int64_t last) {
    for (int64_t i = 0; i < y.rows; ++i) {
      if (!bias.empty()) nn_.add(y.row(i) + first, bias.data() + first, last - first);
      if (post_norm.empty()) nn_.add(sum.row(i) + first, y.row(i) + first, last - first);
    }
  });
  if (post_norm.empty()) return;
  pool_.ParallelFor(y.rows, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      nn_.rms_norm(y.row(i), post_norm.data(), config_.norm_epsilon, y.columns, y.row(i));
      nn_.add(sum.row(i), y.row(i), y.columns);
    }
  });
}

MatrixView<const float> Transformer::Logits() {
  const MatrixView<float> logits = Matrix(logits_, config_.vocab_size);
  if (rows_.empty()) return logits;
  ObserveNormalised(ProductInput::kOutput, 0, weights_.output_norm);
  input_.SetNormalised(residual(), weights_.output_norm, config_.norm_epsilon,
                       FormsOf(weights_.output_matrix()));
  Multiply(weights_.output_matrix(), logits, [&](int64_t first, int64_t last) {
    if (!config_.logit_softcap) return;
    const float cap = *config_.logit_softcap;
    for (int64_t i = 0; i < logits.rows; ++i) {
      for (float& x : std::span(logits.row(i) + first, logits.row(i) + last))
        x = cap * std::tanh(x / cap);
    }
  });
  return logits;
}

// The products normalise as they quantise, a few rows at a time; an observer is shown all rows.
void Transformer::ObserveNormalised(ProductInput input, int32_t layer,
                                    const std::vector<float>& norm) {
  if (!observer_) return;
  const MatrixView<float> x = residual(), normed = Matrix(observed_, config_.width);
  for (int64_t i = 0; i < x.rows; ++i)
    nn_.rms_norm(x.row(i), norm.data(), config_.norm_epsilon, x.columns, normed.row(i));
  observer_(input, layer, normed);
}

// y = W input, adapted, with finish(first, last) for the columns of y that a task has computed.
template <class Finish>
void Transformer::Multiply(const WeightMatrix& w, MatrixView<float> y, Finish finish) {
  lora_.Begin(input_, {&w});
  pool_.ParallelFor(
      w.panels(), TaskPanels(w, w.bytes(), rows(), pool_.threads()),
      [&](int thread) -> const Activations& { return input_.For(thread); },
      [&](const Activations& input, int64_t begin, int64_t end) {
        MatMulPanels(matmul_, w, input, y, begin, end);
        lora_.Add(w, y, begin, end);
        finish(begin * kPanelRows, std::min(end * kPanelRows, y.columns));
      });
}

// One row for each of the batch. The buffer grows (losing its contents) when it is too small; the
// batch only shrinks throughout one Forward, so nothing is lost within it.
MatrixView<float> Transformer::Matrix(AlignedBuffer<float>& buffer, int64_t columns) {
  buffer.Reserve(static_cast<size_t>(rows() * columns));
  return {buffer.data(), rows(), columns, columns};
}

}  // namespace millrace
