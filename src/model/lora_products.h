// LoraProducts: what adapters add to the products of one Forward, y += s B (A x), for the rows that
// use them. Rows of the same adapter are multiplied together, so that a step reads each adapter
// once (as Punica's batched kernels do: Chen et al. 2023, "Punica: Multi-Tenant LoRA Serving").
//
// Invariant (bit-exactness): a row's sum depends on that row and its adapter alone: t = A x in
// A's order of summation (matmul.h), each element times s, rounded; B t in B's order from zero;
// then y + that, one addition. Rows without an adapter are not touched.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/id.h"
#include "base/matrix.h"
#include "base/thread_pool.h"
#include "model/lora_adapter.h"
#include "model/phase_input.h"
#include "nn_ops/nn_ops.h"
#include "quantization/matmul.h"

namespace millrace {

class LoraProducts {
 public:
  LoraProducts(const NnKernels& nn, const MatMulKernels& matmul, ThreadPool& pool);

  // The rows of the batch anew: all without an adapter, until Use says otherwise. The adapters must
  // live until the next Clear.
  void Clear();
  void Use(int64_t row, const LoraAdapter& adapter);

  // Before a phase that multiplies `input` with `weights`: computes s A x for the rows and matrices
  // that have a pair. The threads meet, if there are any. Weights that are multiplied in different
  // tasks of the phase must be different matrices.
  void Begin(PhaseInput& input, std::initializer_list<const WeightMatrix*> weights);
  // Within a task of that phase: y += B t, the columns of the panels [first, last) of w. y [rows,
  // w.rows()] holds the products there.
  void Add(const WeightMatrix& w, MatrixView<float> y, int64_t first_panel, int64_t last_panel);

  // To the embedding of one token, E floats; from any thread.
  void AddEmbedding(const LoraAdapter& adapter, TokenId token, std::span<float> row) const;

 private:
  struct Group {
    const LoraAdapter* adapter;
    std::vector<int64_t> rows;  // ascending
  };
  // One matrix and the rows of one adapter.
  struct Entry {
    const WeightMatrix* w;
    const LoraPair* pair;
    const Group* group;
    size_t reduced;  // where its t [rows of the group, r] begins in reduced_
    size_t added;    // where the scratch of w begins in added_
  };
  // A piece of an entry's rows, a task of Begin.
  struct Piece {
    const Entry* entry;
    int64_t first, count;
  };
  struct Scratch {
    AlignedBuffer<float> rows;
    Activations activations;
  };

  void Reduce(const Piece& piece, MatrixView<const float> x, Scratch& scratch);
  MatrixView<float> Reduced(const Entry& entry, int64_t first, int64_t count);

  const NnKernels& nn_;
  const MatMulKernels& matmul_;
  ThreadPool& pool_;
  std::vector<Group> groups_;
  size_t used_groups_ = 0;  // the others keep their memory for later
  std::vector<Entry> entries_;
  std::vector<Piece> pieces_;
  AlignedBuffer<float> reduced_;
  AlignedBuffer<float> added_;    // per matrix [kPieceRows, N]: a task uses its own columns
  std::vector<Scratch> scratch_;  // per thread
};

}  // namespace millrace
