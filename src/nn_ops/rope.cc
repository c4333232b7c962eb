#include "nn_ops/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace millrace {
namespace {

// The pair index at which `rotations` full turns fit into the original context: YaRN, appendix A.1.
double CorrectionDimension(const RopeConfig& config, double rotations) {
  const double context = config.yarn->original_context;
  return config.dimensions * std::log(context / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(config.base));
}

// How far pair i is extrapolated (1) rather than interpolated (0).
double YarnMix(const RopeConfig& config, int32_t i) {
  const YarnConfig& yarn = *config.yarn;
  const double low = std::max(0.0, std::floor(CorrectionDimension(config, yarn.beta_fast)));
  const double high =
      std::min(config.dimensions - 1.0, std::ceil(CorrectionDimension(config, yarn.beta_slow)));
  const double ramp = std::clamp((i - low) / std::max(0.001, high - low), 0.0, 1.0);
  return (1.0 - ramp) * yarn.extrapolation;
}

// The angle of pair i per position.
double Frequency(const RopeConfig& config, int32_t i) {
  double frequency = std::pow(config.base, -2.0 * i / config.dimensions);
  if (!config.frequency_factors.empty()) {
    frequency /= config.frequency_factors[static_cast<size_t>(i)];
  }
  if (!config.yarn.has_value()) return frequency / config.linear_factor;
  const double interpolated = frequency / config.yarn->factor;
  const double mix = YarnMix(config, i);
  return interpolated * (1.0 - mix) + frequency * mix;
}

double Magnitude(const RopeConfig& config) {
  if (!config.yarn.has_value()) return 1.0;
  const YarnConfig& yarn = *config.yarn;
  const double of_factor =
      yarn.extrapolation != 0.0f ? 1.0 + 0.1 * std::log(double{yarn.factor}) : 1.0;
  return yarn.attention_factor * of_factor;
}

}  // namespace

Rope::Rope(const RopeConfig& config, int32_t max_positions)
    : pairing_(config.pairing), half_(config.dimensions / 2) {
  CHECK(config.dimensions > 0 && config.dimensions % 2 == 0 && max_positions >= 0);
  CHECK(config.frequency_factors.empty() ||
        config.frequency_factors.size() == static_cast<size_t>(half_));
  const size_t entries = static_cast<size_t>(max_positions) * static_cast<size_t>(half_);
  cos_.resize(entries);
  sin_.resize(entries);
  const double magnitude = Magnitude(config);
  for (int32_t i = 0; i < half_; ++i) {
    const double frequency = Frequency(config, i);
    for (int32_t position = 0; position < max_positions; ++position) {
      const size_t entry =
          static_cast<size_t>(position) * static_cast<size_t>(half_) + static_cast<size_t>(i);
      cos_[entry] = static_cast<float>(std::cos(position * frequency) * magnitude);
      sin_[entry] = static_cast<float>(std::sin(position * frequency) * magnitude);
    }
  }
}

void Rope::Apply(const NnKernels& kernels, float* heads, int32_t count, int32_t head_dim,
                 int32_t position) const {
  const size_t row = static_cast<size_t>(position) * static_cast<size_t>(half_);
  const auto rotate =
      pairing_ == RopePairing::kAdjacent ? kernels.rope_adjacent : kernels.rope_halves;
  for (int32_t head = 0; head < count; ++head) {
    rotate(heads + int64_t{head} * head_dim, cos_.data() + row, sin_.data() + row, half_);
  }
}

}  // namespace millrace
