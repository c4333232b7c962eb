// Transformer: the forward pass of a decoder-only transformer on the CPU kernels, for every
// architecture that TransformerConfig describes. Reads like the paper: norm, attention, residual,
// norm, feed-forward, residual.
//
// The threads meet five times in a layer, at the ends of these phases: norm, Q, K, V, rope and the
// writing of keys and values; attention; output projection and residual; norm, gate, up and
// activation; down projection and residual. Many rows add a phase before each product
// (phase_input.h), norms of a sub-layer's output add one after it, and rows that use an adapter add
// one before each product that it changes (lora_products.h).
//
// Invariant: see Model. Every operation works row by row, and each row's arithmetic is fixed by its
// position alone.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/clock.h"
#include "base/thread_pool.h"
#include "flash_attention/attention.h"
#include "model/lora_adapter.h"
#include "model/lora_products.h"
#include "model/model.h"
#include "model/phase_input.h"
#include "model/transformer_config.h"
#include "model/transformer_weights.h"
#include "nn_ops/nn_ops.h"
#include "quantization/matmul.h"
#include "simd/isa.h"

namespace millrace {

class GgufFile;

enum class AttentionKind { kFlash, kStandard };

struct TransformerOptions {
  Isa isa = Isa::kScalar;
  AttentionKind attention = AttentionKind::kFlash;
  int32_t max_positions = 4096;  // the longest sequence that will be served
  WeightOptions weights;
};

// Which matrices a set of activations is multiplied with.
enum class ProductInput { kQkv, kAttentionOutput, kGateAndUp, kDown, kOutput };
// Told the activations [rows, columns] before they are quantised and multiplied, once per product
// of a Forward; `layer` is 0 for kOutput. What importance matrices are measured with.
using ActivationObserver =
    std::function<void(ProductInput input, int32_t layer, MatrixView<const float> activations)>;

class Transformer : public Model {
 public:
  // `pool` must outlive the model; the file need not, except as WeightOptions says.
  static Result<std::unique_ptr<Transformer>> Load(const GgufFile& file,
                                                   const TransformerOptions& options,
                                                   ThreadPool& pool,
                                                   const LoadProgress& progress = {});

  // Adds an adapter, which sequences choose by its place in info().adapters (AdapterId), where the
  // identity says what keys and values made with it depend on. Not between or during Forwards of
  // sequences that go on. Errors: those of LoraAdapter::Load; then nothing is added.
  struct AdapterName {
    std::string name, identity;
  };
  Status AddAdapter(const AdapterName& name, const GgufFile& file, float scale);

  MatrixView<const float> Forward(const Batch& batch, KvStore& kv) override;
  // What the logits are made from, in their place: [sum of logit_rows, E], normalised. For
  // embeddings.
  MatrixView<const float> Hidden(const Batch& batch, KvStore& kv);
  const ModelInfo& info() const override { return info_; }
  ModelStatistics statistics() const override { return statistics_; }
  const TransformerConfig& config() const { return config_; }
  // From the next Forward on; empty: none.
  void SetObserver(ActivationObserver observer) { observer_ = std::move(observer); }
  // The matrix of a tensor ("blk.0.attn_q.weight"), to be exchanged for another of the same shape:
  // how the sensitivity of one tensor is measured. Null where the model has no such matrix.
  WeightMatrix* FindMatrix(std::string_view tensor) { return weights_.Find(tensor); }

 private:
  Transformer(TransformerConfig config, TransformerWeights weights,
              const TransformerOptions& options, ThreadPool& pool);

  // Where a row of the batch stands in its sequence.
  struct Row {
    int32_t position = 0;
    BlockId block;
    TokenId token;
    const LoraAdapter* adapter = nullptr;
  };
  // Heads [first, last) of queries, or of keys and values.
  struct Heads {
    int64_t first = 0;
    int64_t last = 0;
  };

  void Layers(const Batch& batch, KvStore& kv);
  void PlaceRows(const Batch& batch);
  void GroupByAdapter();
  void KeepRowsWithLogits(const Batch& batch);
  void Embed();
  void ProjectQueriesKeysValues(int32_t layer, KvStore& kv);
  void Queries(int32_t layer, const Activations& input, Heads heads);
  void KeysAndValues(int32_t layer, const Activations& input, Heads heads, KvStore& kv);
  void Attend(int32_t layer, KvStore& kv);
  void GateAndUp(const LayerWeights& w);
  void ObserveNormalised(ProductInput input, int32_t layer, const std::vector<float>& norm);
  void AddProjection(MatrixView<const float> x, const WeightMatrix& w,
                     const std::vector<float>& bias, const std::vector<float>& post_norm);
  MatrixView<const float> Logits();

  template <class Finish>
  void Multiply(const WeightMatrix& w, MatrixView<float> y, Finish finish);
  void ProjectHeads(const WeightMatrix& w, const std::vector<float>& bias, const Activations& input,
                    Heads heads, MatrixView<float> y);
  void NormaliseAndRotate(int32_t layer, const std::vector<float>& norm, Heads heads,
                          MatrixView<float> x);
  int64_t HeadsPerTask(const WeightMatrix& w) const;

  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }
  MatrixView<float> residual() { return Matrix(residual_, config_.width); }
  MatrixView<float> queries() { return Matrix(q_, config_.query_width()); }
  MatrixView<float> keys() { return Matrix(k_, config_.kv_width()); }
  MatrixView<float> values() { return Matrix(v_, config_.kv_width()); }
  MatrixView<float> attended() { return Matrix(attended_, config_.query_width()); }
  MatrixView<float> gate() { return Matrix(gate_, config_.ff_width); }
  MatrixView<float> up() { return Matrix(up_, config_.ff_width); }
  MatrixView<float> projected() { return Matrix(projected_, config_.width); }
  MatrixView<float> Matrix(AlignedBuffer<float>& buffer, int64_t columns);

  TransformerConfig config_;
  TransformerWeights weights_;
  AttentionKind attention_;
  ThreadPool& pool_;
  const NnKernels& nn_;
  const MatMulKernels& matmul_;
  const AttentionKernels& attention_kernels_;
  Rope global_rope_;
  Rope local_rope_;
  ModelInfo info_;
  Clock clock_;
  ModelStatistics statistics_;
  ActivationObserver observer_;
  std::vector<std::unique_ptr<const LoraAdapter>> adapters_;

  // The state of one Forward; buffers are reused.
  std::vector<Row> rows_;
  std::vector<AttentionRows> attention_rows_;
  PhaseInput input_;
  LoraProducts lora_;
  AlignedBuffer<float> residual_, q_, k_, v_, attended_, projected_, gate_, up_, logits_, observed_;
};

}  // namespace millrace
