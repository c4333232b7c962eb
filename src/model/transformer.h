// Transformer: the forward pass of a decoder-only transformer on the CPU kernels, for every
// architecture that TransformerConfig describes. Reads like the paper: norm, attention, residual,
// norm, feed-forward, residual.
//
// Invariant: see Model. Every operation works row by row, and each row's arithmetic is fixed by its
// position alone.
#pragma once

#include <memory>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "flash_attention/attention.h"
#include "model/model.h"
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

class Transformer : public Model {
 public:
  // `pool` must outlive the model; the file need not, except as WeightOptions says.
  static Result<std::unique_ptr<Transformer>> Load(const GgufFile& file,
                                                   const TransformerOptions& options,
                                                   ThreadPool& pool,
                                                   const LoadProgress& progress = {});

  MatrixView<const float> Forward(const Batch& batch, KvStore& kv) override;
  const ModelInfo& info() const override { return info_; }
  const TransformerConfig& config() const { return config_; }

 private:
  Transformer(TransformerConfig config, TransformerWeights weights,
              const TransformerOptions& options, ThreadPool& pool);

  // Where a row of the batch stands: its sequence and position.
  struct Row {
    int32_t position = 0;
    BlockId block;
    TokenId token;
    bool wants_logits = false;
  };
  void PlaceRows(const Batch& batch);
  void Embed();
  void AttentionSublayer(int32_t layer, KvStore& kv);
  void FeedForwardSublayer(int32_t layer);
  MatrixView<const float> Logits();

  void Normalise(MatrixView<const float> x, const std::vector<float>& weight,
                 MatrixView<float> out);
  void AddBias(MatrixView<float> x, const std::vector<float>& bias);
  void RotateAndStore(int32_t layer, KvStore& kv);
  void AddToResidual(MatrixView<float> x, const std::vector<float>& post_norm);
  MatrixView<float> Matrix(AlignedBuffer<float>& buffer, int64_t rows, int64_t columns);

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

  // The state of one Forward; buffers are reused.
  std::vector<Row> rows_;
  std::vector<AttentionRows> attention_rows_;
  Activations activations_;
  AlignedBuffer<float> residual_, normed_, q_, k_, v_, attended_, projected_, gate_, up_, logits_;
};

}  // namespace millrace
