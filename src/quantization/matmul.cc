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
constexpr int64_t kWholePanels = 3;  // of a task

TypedKernel OwnKernel(const MatMulKernels& kernels, DType type) {
  for (const TypedKernel& k : kernels.by_type) {
    if (k.kernel != nullptr && k.type == type) return k;
  }
  return {};
}

int64_t SweepRows(int64_t columns) {
  const int64_t rows = kSweepBytes / std::max<int64_t>(columns, 1) / kTileColumns * kTileColumns;
  return std::clamp(rows, kTileColumns, kMostSweepRows);
}

// The panels [first, last), which stand one after the other at `packed`, times all rows of x.
void SweepPanels(const TypedKernel& kernel, const WeightMatrix& w, const Activations& x,
                 MatrixView<float> y, int64_t first, int64_t last, const std::byte* packed) {
  const int64_t sweep = SweepRows(w.columns());
  for (int64_t m = 0; m < x.rows(); m += sweep) {
    PanelArgs args = x.PanelArgsFor(w.type(), m, std::min(sweep, x.rows() - m));
    args.panel_bytes = w.panel_bytes();
    args.y_stride = y.stride;
    for (int64_t p = first; p < last; p += args.panels) {
      args.panels = last - p >= kernel.panels ? kernel.panels : 1;
      args.panel = reinterpret_cast<const uint8_t*>(packed + (p - first) * w.panel_bytes());
      args.y = y.row(m) + p * kPanelRows;
      args.valid_rows = std::min(kPanelRows, w.rows() - (p + args.panels - 1) * kPanelRows);
      kernel.kernel(args);
    }
  }
}

}  // namespace

TypedKernel KernelFor(const MatMulKernels& kernels, DType type) {
  const TypedKernel own = OwnKernel(kernels, type);
  return own.kernel != nullptr ? own : OwnKernel(kScalarMatMulKernels, type);
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
  const int64_t panels = std::max(std::min(even, worthwhile * 4), std::min(worthwhile, even * 2));
  // Whole multiples of what kernels take together, so that few panels are computed one by one.
  return panels < kWholePanels ? std::max<int64_t>(panels, 1)
                               : (panels + kWholePanels - 1) / kWholePanels * kWholePanels;
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
  const TypedKernel kernel = KernelFor(kernels, w.type());
  CHECK(kernel.kernel != nullptr);
  if (w.in_place()) {
    AlignedBuffer<std::byte> panel(static_cast<size_t>(w.panel_bytes()));
    for (int64_t p = first_panel; p < last_panel; ++p) {
      w.PackPanelTo(p, panel.data());
      SweepPanels(kernel, w, x, y, p, p + 1, panel.data());
    }
    return;
  }
  if (first_panel >= last_panel) return;
  SweepPanels(kernel, w, x, y, first_panel, last_panel, w.panel(first_panel));
}

}  // namespace millrace
