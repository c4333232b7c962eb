#include "model/phase_input.h"

namespace millrace {
namespace {

// A row of 2048 takes about a microsecond to normalise and quantise, a barrier about as long.
constexpr int64_t kMostRepeatedRows = 2;

// Rows handed to a thread at a time: the activations' tiles are whole within such pieces.
constexpr int64_t kNormGrain = 8;

}  // namespace

PhaseInput::PhaseInput(const NnKernels& nn, const MatMulKernels& matmul, ThreadPool& pool)
    : nn_(nn), matmul_(matmul), pool_(pool), own_(static_cast<size_t>(pool.threads())) {}

bool PhaseInput::IsRepeated() const { return x_.rows <= kMostRepeatedRows; }

void PhaseInput::Begin(MatrixView<const float> x, std::span<const float> weight, float epsilon,
                       ActivationForms forms) {
  x_ = x;
  weight_ = weight;
  epsilon_ = epsilon;
  forms_ = forms;
  if (IsRepeated()) return;
  Reserve(shared_);
  pool_.ParallelFor(x.rows, kNormGrain,
                    [&](int64_t first, int64_t last) { Prepare(shared_, first, last); });
}

const Activations& PhaseInput::For(int thread) {
  if (!IsRepeated()) return shared_.activations;
  Prepared& own = own_[static_cast<size_t>(thread)];
  Reserve(own);
  Prepare(own, 0, x_.rows);
  return own.activations;
}

void PhaseInput::Reserve(Prepared& prepared) {
  if (weight_.empty()) {
    prepared.activations.View(x_, forms_);
    return;
  }
  prepared.normed.Reserve(static_cast<size_t>(x_.rows * x_.columns));
  prepared.activations.View({prepared.normed.data(), x_.rows, x_.columns, x_.columns}, forms_);
}

void PhaseInput::Prepare(Prepared& prepared, int64_t first_row, int64_t last_row) {
  for (int64_t i = first_row; i < last_row && !weight_.empty(); ++i) {
    nn_.rms_norm(x_.row(i), weight_.data(), epsilon_, x_.columns,
                 prepared.normed.data() + i * x_.columns);
  }
  prepared.activations.Quantise(matmul_, first_row, last_row);
}

}  // namespace millrace
