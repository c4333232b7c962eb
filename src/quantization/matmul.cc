#include "quantization/matmul.h"

#include <algorithm>

#include "base/check.h"
#include "quantization/matmul_kernels.h"

namespace millrace {
namespace {

// Activation rows per sweep over the panels: their int8 values stay in the second-level cache (1
// MiB), half of it.
constexpr int64_t kSweepBytes = 512 << 10;
constexpr int64_t kMostSweepRows = 256;

PanelKernel OwnKernel(const MatMulKernels& kernels, DType type) {
  switch (type) {
    case DType::kF32:
      return kernels.f32;
    case DType::kF16:
      return kernels.f16;
    case DType::kBF16:
      return kernels.bf16;
    case DType::kQ8_0:
      return kernels.q8_0;
    case DType::kQ4_0:
      return kernels.q4_0;
    case DType::kQ4_1:
      return kernels.q4_1;
    case DType::kQ5_0:
      return kernels.q5_0;
    case DType::kQ5_1:
      return kernels.q5_1;
    case DType::kQ2_K:
      return kernels.q2_k;
    case DType::kQ3_K:
      return kernels.q3_k;
    case DType::kQ4_K:
      return kernels.q4_k;
    case DType::kQ5_K:
      return kernels.q5_k;
    case DType::kQ6_K:
      return kernels.q6_k;
    case DType::kIQ4_NL:
      return kernels.iq4_nl;
    case DType::kIQ4_XS:
      return kernels.iq4_xs;
    case DType::kMXFP4:
      return kernels.mxfp4;
    default:
      return nullptr;
  }
}

int64_t SweepRows(int64_t columns) {
  const int64_t rows = kSweepBytes / std::max<int64_t>(columns, 1) / kTileColumns * kTileColumns;
  return std::clamp(rows, kTileColumns, kMostSweepRows);
}

PairKernel PairKernelFor(const MatMulKernels& kernels, DType type) {
  switch (type) {
    case DType::kQ8_0:
      return kernels.q8_0_pair;
    case DType::kQ4_0:
      return kernels.q4_0_pair;
    case DType::kQ3_K:
      return kernels.q3_k_pair;
    case DType::kQ4_K:
      return kernels.q4_k_pair;
    case DType::kQ5_K:
      return kernels.q5_k_pair;
    case DType::kQ6_K:
      return kernels.q6_k_pair;
    default:
      return {};
  }
}

// The panels [first, last), which stand one after the other at `packed`, times all rows of x.
void SweepPanels(PanelKernel kernel, PairKernel pair, const WeightMatrix& w, const Activations& x,
                 MatrixView<float> y, int64_t first, int64_t last, const std::byte* packed) {
  const int64_t sweep = SweepRows(w.columns());
  for (int64_t m = 0; m < x.rows(); m += sweep) {
    PanelArgs args = x.PanelArgsFor(m, std::min(sweep, x.rows() - m));
    args.y_stride = y.stride;
    for (int64_t p = first; p < last; ++p) {
      args.panel = reinterpret_cast<const uint8_t*>(packed + (p - first) * w.panel_bytes());
      args.y = y.row(m) + p * kPanelRows;
      if (pair.kernel != nullptr && args.m >= pair.least_rows && p + 1 < last) {
        args.next_panel = args.panel + w.panel_bytes();
        args.valid_rows = std::min(kPanelRows, w.rows() - ++p * kPanelRows);
        pair.kernel(args);
        continue;
      }
      args.valid_rows = std::min(kPanelRows, w.rows() - p * kPanelRows);
      kernel(args);
    }
  }
}

}  // namespace

PanelKernel PanelKernelFor(const MatMulKernels& kernels, DType type) {
  const PanelKernel own = OwnKernel(kernels, type);
  return own != nullptr ? own : OwnKernel(kScalarMatMulKernels, type);
}

const MatMulKernels& MatMulKernelsFor(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kAvx512MatMulKernels;
  if (isa == Isa::kAvxVnni) return kAvxVnniMatMulKernels;
  if (isa == Isa::kAvx2) return kAvx2MatMulKernels;
#elif defined(__aarch64__)
  if (isa == Isa::kNeonI8mm) return kNeonI8mmMatMulKernels;
  if (isa == Isa::kNeonDot) return kNeonDotMatMulKernels;
#endif
  return kScalarMatMulKernels;
}

// Small enough to balance the threads, large enough that a task's weights (64 KiB) pay for its
// start.
int64_t PanelsPerTask(const WeightMatrix& w, int threads) {
  const int64_t even = w.panels() / (int64_t{8} * threads);
  const int64_t worthwhile = (64 << 10) / std::max<int64_t>(w.panel_bytes(), 1) + 1;
  return std::max<int64_t>({1, std::min(even, worthwhile * 4), std::min(worthwhile, even * 2)});
}

void MatMul(const MatMulKernels& kernels, ThreadPool& pool, const WeightMatrix& w,
            const Activations& x, MatrixView<float> y) {
  pool.ParallelFor(w.panels(), PanelsPerTask(w, pool.threads()), [&](int64_t first, int64_t last) {
    MatMulPanels(kernels, w, x, y, first, last);
  });
}

void MatMulPanels(const MatMulKernels& kernels, const WeightMatrix& w, const Activations& x,
                  MatrixView<float> y, int64_t first_panel, int64_t last_panel) {
  CHECK(x.columns() == w.columns() && y.rows == x.rows() && y.columns == w.rows());
  CHECK(y.stride >= y.columns && first_panel >= 0 && last_panel <= w.panels());
  const PanelKernel kernel = PanelKernelFor(kernels, w.type());
  CHECK(kernel != nullptr);
  if (w.in_place()) {
    AlignedBuffer<std::byte> panel(static_cast<size_t>(w.panel_bytes()));
    for (int64_t p = first_panel; p < last_panel; ++p) {
      w.PackPanelTo(p, panel.data());
      SweepPanels(kernel, PairKernelFor(kernels, w.type()), w, x, y, p, p + 1, panel.data());
    }
    return;
  }
  if (first_panel >= last_panel) return;
  SweepPanels(kernel, PairKernelFor(kernels, w.type()), w, x, y, first_panel, last_panel,
              w.panel(first_panel));
}

}  // namespace millrace
