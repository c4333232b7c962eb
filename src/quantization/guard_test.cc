// The kernels read and write nothing beyond what they are given: packed weights, activations and
// outputs stand against pages without access, so that one byte too far ends the test.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "quantization/matmul.h"
#include "quantization/matmul_kernels.h"
#include "quantization/packed_layout.h"
#include "quantization/test_support.h"

namespace millrace {
namespace {

// `bytes` bytes that end exactly at an inaccessible page.
class GuardedBytes {
 public:
  explicit GuardedBytes(size_t bytes) : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    const size_t whole = (bytes + page_ - 1) / page_ * page_;
    size_ = whole + page_;
    base_ = static_cast<std::byte*>(
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    CHECK(base_ != MAP_FAILED);
    CHECK(mprotect(base_ + whole, page_, PROT_NONE) == 0);
    data_ = base_ + whole - bytes;
  }
  ~GuardedBytes() { munmap(base_, size_); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;

  template <class T>
  T* As() {
    return reinterpret_cast<T*>(data_);
  }
  template <class T>
  const T* Copy(const T* from, int64_t count) {
    if (count > 0) std::memcpy(data_, from, static_cast<size_t>(count) * sizeof(T));
    return As<T>();
  }

 private:
  size_t page_;
  size_t size_;
  std::byte* base_;
  std::byte* data_;
};

class Guard : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(All, Guard, testing::ValuesIn(WeightMatrix::SupportedTypes()),
                         [](const auto& p) { return std::string(NameOf(p.param)); });

// `panels` panels, of which the last has `valid` rows.
std::vector<std::byte> PackedPanels(DType type, const PackedLayout& layout, int64_t k,
                                    int64_t panels, int64_t valid) {
  const int64_t rows = (panels - 1) * kPanelRows + valid;
  const auto source = InfoOf(type).block_elements == 1 ? RandomWeights(type, rows, k, 1)
                                                       : RandomBlocks(type, rows, k, 1);
  std::vector<std::byte> packed(static_cast<size_t>(panels * layout.panel_bytes));
  for (int64_t p = 0; p < panels; ++p) {
    PackPanel(layout, source.data() + p * kPanelRows * layout.row_bytes,
              p + 1 < panels ? kPanelRows : valid, packed.data() + p * layout.panel_bytes);
  }
  return packed;
}

void RunGuarded(Isa isa, DType type, int64_t k, int64_t m, int64_t panels, int64_t valid) {
  const MatMulKernels& kernels = MatMulKernelsFor(isa);
  const PackedLayout layout = MakePackedLayout(type, k);
  const auto packed = PackedPanels(type, layout, k, panels, valid);
  const int64_t rows = (panels - 1) * kPanelRows + valid;
  GuardedBytes panel(packed.size());
  const auto floats = RandomFloats(m * k, 2);
  GuardedBytes x(floats.size() * 4);
  const float* guarded_x = x.Copy(floats.data(), m * k);
  ThreadPool pool(1);
  Activations activations;
  activations.Assign(kernels, pool, {guarded_x, m, k, k});

  PanelArgs a = activations.PanelArgsFor(type, 0, m);
  // What the type's form has; no int8 form at all for float weights.
  const int64_t values = a.values == nullptr ? 0 : m * a.padded;
  const int64_t scale_count = m * a.groups * a.scales_per_group;
  const int64_t extra = a.tile_pairs == nullptr ? 0 : values;
  GuardedBytes row_values(static_cast<size_t>(values)), tiles(static_cast<size_t>(values)),
      sums(static_cast<size_t>(values / 8)), scales(static_cast<size_t>(scale_count * 4)),
      sums16(static_cast<size_t>(extra / 4)), sums32(static_cast<size_t>(values / 8)),
      pairs(static_cast<size_t>(extra / 16)), tile_scales(static_cast<size_t>(scale_count * 4));
  a.panel = reinterpret_cast<const uint8_t*>(
      panel.Copy(packed.data(), static_cast<int64_t>(packed.size())));
  a.values = row_values.Copy(a.values, values);
  a.sums = sums.Copy(a.sums, values / 16);
  a.scales = scales.Copy(a.scales, scale_count);
  a.tile_values = tiles.Copy(a.tile_values, values);
  a.tile_minus_sums16 = sums16.Copy(a.tile_minus_sums16, extra / 16);
  a.tile_minus_sums32 = sums32.Copy(a.tile_minus_sums32, values / 32);
  a.tile_pairs = pairs.Copy(a.tile_pairs, extra / 32);
  a.tile_scales = tile_scales.Copy(a.tile_scales, scale_count);
  GuardedBytes y(static_cast<size_t>(m * rows) * 4);
  a.y = y.As<float>();
  a.y_stride = rows;
  a.panels = panels;
  a.panel_bytes = layout.panel_bytes;
  a.valid_rows = valid;
  KernelFor(kernels, type).kernel(a);

  std::vector<float> expected(static_cast<size_t>(m * rows));
  PanelArgs scalar = a;
  scalar.panels = 1;
  for (int64_t p = 0; p < panels; ++p) {
    scalar.panel = a.panel + p * layout.panel_bytes;
    scalar.y = expected.data() + p * kPanelRows;
    scalar.valid_rows = p + 1 < panels ? kPanelRows : valid;
    KernelFor(MatMulKernelsFor(Isa::kScalar), type).kernel(scalar);
  }
  EXPECT_EQ(std::memcmp(a.y, expected.data(), expected.size() * 4), 0)
      << NameOf(isa) << " K " << k << " M " << m << " panels " << panels << " rows " << rows;
}

TEST_P(Guard, NothingBeyondTheEndIsTouched) {
  const int64_t block = InfoOf(GetParam()).block_elements;
  const std::vector<int64_t> ks = block == 1    ? std::vector<int64_t>{1, 33, 256, 301}
                                  : block == 32 ? std::vector<int64_t>{32, 96, 256, 288}
                                                : std::vector<int64_t>{256, 768};
  for (Isa isa : SupportedIsas()) {
    for (int64_t k : ks) {
      for (int64_t m : {1, 2, 7, 8, 9, 21}) {
        for (int64_t valid : {1, 9, 16}) {
          RunGuarded(isa, GetParam(), k, m, 1, valid);
          const int64_t together = KernelFor(MatMulKernelsFor(isa), GetParam()).panels;
          if (together > 1) RunGuarded(isa, GetParam(), k, m, together, valid);
        }
      }
    }
  }
}

// The quantisation of activations, whose row may end anywhere.
TEST(GuardActivations, NothingBeyondTheEndIsTouched) {
  for (Isa isa : SupportedIsas()) {
    for (int64_t k : {1, 15, 16, 17, 32, 255, 256, 257, 300}) {
      for (int64_t group : {kActivationBlock, kActivationGroup}) {
        const int64_t padded = (k + 255) / 256 * 256;
        GuardedBytes x(static_cast<size_t>(k) * 4), values(static_cast<size_t>(padded)),
            scales(static_cast<size_t>(padded / group * 4)), sums(static_cast<size_t>(padded / 8));
        const auto floats = RandomFloats(k, 3);
        MatMulKernelsFor(isa).quantize_activations(x.Copy(floats.data(), k), k, padded, group,
                                                   values.As<int8_t>(), scales.As<float>(),
                                                   sums.As<int16_t>());
        EXPECT_EQ(values.As<int8_t>()[padded - 1], k == padded ? values.As<int8_t>()[k - 1] : 0);
        EXPECT_GT(scales.As<float>()[0], 0.0f);
      }
    }
  }
}

}  // namespace
}  // namespace millrace
