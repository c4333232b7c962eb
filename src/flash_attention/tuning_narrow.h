// Tile sizes of the kernels for 16 registers or none: AVX2, AVX-VNNI and scalar. 8 of the 16 hold
// sums.
#pragma once

namespace millrace {
namespace {

struct Tuning {
  static constexpr int kScoreRows = 4;
  static constexpr int kScoreVectors = 1;
  static constexpr int kValueRows = 4;
  static constexpr int kValueVectors = 1;
  static constexpr int kByteVectors = 1;
};

}  // namespace
}  // namespace millrace
