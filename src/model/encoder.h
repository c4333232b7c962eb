// Encoder: the forward pass of a bidirectional transformer (Devlin et al. 2019, "BERT") on the CPU
// kernels: every token of a text sees every other. A layer is attention, residual, norm,
// feed-forward, residual, norm.
//
// Invariant (bit-exactness): a text's rows depend only on its own tokens: not on the rest of the
// batch, its order, or the number of threads. Every operation but attention works row by row, and
// attention has a fixed order of summation (flash_attention/attention.h). Texts lie end to end, so
// a short one beside a long one costs nothing extra: there is no padding.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/id.h"
#include "base/thread_pool.h"
#include "flash_attention/attention.h"
#include "model/encoder_config.h"
#include "model/encoder_weights.h"
#include "model/phase_input.h"
#include "nn_ops/nn_ops.h"
#include "nn_ops/rope.h"
#include "paged_kv/kv_store.h"
#include "quantization/matmul.h"
#include "simd/isa.h"

namespace millrace {

struct EncoderOptions {
  Isa isa = Isa::kScalar;
  int32_t max_rows = 2048;  // of one Forward, unless the context is longer
  int32_t max_texts = 64;   // likewise
  WeightOptions weights;
};

// One text, or two that are read together.
struct EncoderInput {
  std::span<const TokenId> tokens;  // at least 1, at most the context; ids are in the vocabulary
  // Tokens before it are of type 0, those from it on of type 1, where the model tells types apart.
  int64_t second_text = INT64_MAX;
};

class Encoder {
 public:
  // `pool` must outlive the encoder; the file need not, except as WeightOptions says.
  static Result<std::unique_ptr<Encoder>> Load(const GgufFile& file, const EncoderOptions& options,
                                               ThreadPool& pool);

  // The hidden state [rows of all texts, E], text after text. At most max_texts() texts of
  // max_rows() tokens together (CHECK). The view is valid until the next call.
  MatrixView<const float> Forward(std::span<const EncoderInput> texts);

  const EncoderConfig& config() const { return config_; }
  int32_t max_rows() const { return max_rows_; }
  int32_t max_texts() const { return max_texts_; }

 private:
  Encoder(EncoderConfig config, EncoderWeights weights, const EncoderOptions& options,
          ThreadPool& pool, KvStore kv);

  // Where a row stands in its text.
  struct Row {
    TokenId token;
    int32_t position = 0;
    int32_t type = 0;
    BlockId block;
  };

  void PlaceRows(std::span<const EncoderInput> texts);
  void Embed();
  void ProjectQkv(const EncoderLayerWeights& w);
  void Attend();
  void FeedForward(const EncoderLayerWeights& w);
  void AddAndNormalise(const LayerNormWeights& norm);
  template <class Finish>
  void Multiply(const WeightMatrix& w, MatrixView<float> y, Finish finish);
  void Project(MatrixView<const float> x, const WeightMatrix& w, const std::vector<float>& bias);

  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }
  MatrixView<float> Matrix(AlignedBuffer<float>& buffer, int64_t columns);

  EncoderConfig config_;
  EncoderWeights weights_;
  int32_t max_rows_;
  int32_t max_texts_;
  ThreadPool& pool_;
  const NnKernels& nn_;
  const MatMulKernels& matmul_;
  const AttentionKernels& attention_kernels_;
  Rope rope_;
  KvStore kv_;  // of the layer that is being computed

  // The state of one Forward; buffers are reused.
  std::vector<Row> rows_;
  std::vector<std::vector<BlockId>> block_tables_;
  std::vector<AttentionRows> attention_rows_;
  PhaseInput input_;
  AlignedBuffer<float> hidden_, qkv_, attended_, projected_, gate_, up_;
};

}  // namespace millrace
