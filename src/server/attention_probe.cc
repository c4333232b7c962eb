#include "server/attention_probe.h"

#include <algorithm>
#include <cmath>
#include <thread>
#include <vector>

#include "base/float16.h"
#include "base/rng.h"
#include "flash_attention/attention.h"

namespace millrace::server_internal {
namespace {

constexpr int32_t kReferenceRows = 16;

// Numbers in (-scale, scale) that bf16 holds exactly, so that storing them changes nothing there.
std::vector<float> Inputs(uint64_t seed, int64_t count, float scale) {
  std::vector<float> values(static_cast<size_t>(count));
  CounterRng rng(seed, 0);
  for (float& x : values) {
    x = Bf16ToF32(F32ToBf16(scale * static_cast<float>(2 * rng.NextDouble() - 1)));
  }
  return values;
}

class AttentionProbe {
 public:
  AttentionProbe(const AttentionSizes& sizes, int32_t tokens, KvStore kv)
      : sizes_(sizes),
        tokens_(tokens),
        width_(int64_t{sizes.heads} * sizes.head_dim),
        kv_width_(int64_t{sizes.kv_heads} * sizes.head_dim),
        q_(Inputs(1, tokens * width_, 2.0f)),
        k_(Inputs(2, tokens * kv_width_, 2.0f)),
        v_(Inputs(3, tokens * kv_width_, 1.0f)),
        out_(q_.size()),
        kv_(std::move(kv)) {
    config_.heads = sizes.heads;
    config_.scale = 1.0f / std::sqrt(static_cast<float>(sizes.head_dim));
    for (int32_t b = 0; b < BlocksFor(tokens); ++b) blocks_.push_back(BlockId(b));
    for (int32_t i = 0; i < tokens; ++i) {
      kv_.Write(0, BlockId(i / kBlockTokens), i % kBlockTokens, k_.data() + i * kv_width_,
                v_.data() + i * kv_width_);
    }
    for (int32_t r = 0; r < std::min(kReferenceRows, tokens); ++r) {
      const int32_t row = tokens - 1 - static_cast<int32_t>(int64_t{r} * tokens / kReferenceRows);
      for (int32_t head = 0; head < sizes.heads; ++head) AddReference(std::max(row, 0), head);
    }
  }

  AttentionMeasured Run() {
    AttentionMeasured measured;
    measured.tokens = tokens_;
    measured.kv_bytes = kv_.bytes();
    measured.reference_rows = static_cast<int32_t>(reference_.size()) / sizes_.heads;
    RunOnce(false, measured.standard);  // warms up
    RunOnce(true, measured.flash);
    measured.standard.ms.clear();
    measured.flash.ms.clear();
    for (int round = 0; round < kProbeRounds; ++round) {
      RunOnce(round % 2 == 0, round % 2 == 0 ? measured.flash : measured.standard);
      RunOnce(round % 2 != 0, round % 2 != 0 ? measured.flash : measured.standard);
    }
    return measured;
  }

 private:
  struct ReferenceHead {
    int32_t row, head;
    std::vector<double> out;  // [head_dim]
  };

  void AddReference(int32_t row, int32_t head) {
    const int64_t dim = sizes_.head_dim;
    const int64_t offset = head / (sizes_.heads / sizes_.kv_heads) * dim;
    const float* q = q_.data() + row * width_ + head * dim;
    std::vector<double> scores(static_cast<size_t>(row) + 1);
    double most = -1e300, sum = 0;
    for (int32_t j = 0; j <= row; ++j) {
      double dot = 0;
      for (int64_t d = 0; d < dim; ++d) dot += double{q[d]} * k_[Index(j * kv_width_ + offset + d)];
      most = std::max(most,
                      scores[static_cast<size_t>(j)] = dot / std::sqrt(static_cast<double>(dim)));
    }
    for (double& s : scores) sum += s = std::exp(s - most);
    ReferenceHead reference{row, head, std::vector<double>(static_cast<size_t>(dim))};
    for (int64_t d = 0; d < dim; ++d) {
      double value = 0;
      for (int32_t j = 0; j <= row; ++j)
        value += scores[static_cast<size_t>(j)] * v_[Index(j * kv_width_ + offset + d)];
      reference.out[static_cast<size_t>(d)] = value / sum;
    }
    reference_.push_back(std::move(reference));
  }

  void RunOnce(bool flash, AttentionMeasured::Way& way) {
    const MatrixView<const float> q{q_.data(), tokens_, width_, width_};
    const MatrixView<float> out{out_.data(), tokens_, width_, width_};
    const AttentionRows rows{0, tokens_, 0, blocks_};
    const auto& kernels = AttentionKernelsFor(sizes_.isa);
    const TimePoint begin = clock_.Now();
    way.intermediate_bytes =
        flash ? FlashAttention(kernels, pool_, kv_, 0, config_, {&rows, 1}, q, out)
              : StandardAttention(kernels, pool_, kv_, 0, config_, {&rows, 1}, q, out);
    way.ms.push_back(Milliseconds(clock_.Now() - begin));
    way.largest_difference = 0;
    for (const ReferenceHead& r : reference_) {
      for (int64_t d = 0; d < sizes_.head_dim; ++d) {
        const double got = out_[Index(r.row * width_ + r.head * sizes_.head_dim + d)];
        way.largest_difference =
            std::max(way.largest_difference, std::abs(got - r.out[static_cast<size_t>(d)]));
      }
    }
  }

  static size_t Index(int64_t at) { return static_cast<size_t>(at); }

  const AttentionSizes sizes_;
  const int32_t tokens_;
  const int64_t width_, kv_width_;
  const std::vector<float> q_, k_, v_;  // [tokens][width]
  std::vector<float> out_;
  KvStore kv_;
  AttentionConfig config_;
  std::vector<BlockId> blocks_;
  std::vector<ReferenceHead> reference_;
  ThreadPool pool_{1};
  Clock clock_;
};

}  // namespace

Result<AttentionMeasured> ProbeAttention(const AttentionSizes& sizes, int32_t tokens) {
  ASSIGN_OR_RETURN(KvStore kv, KvStore::Create({1, sizes.kv_heads, sizes.head_dim}, sizes.kv_type,
                                               BlocksFor(tokens)));
  AttentionMeasured measured;
  // A thread of its own: what attention keeps for its thread, up to the whole matrix of scores, is
  // given back with it.
  std::thread([&] { measured = AttentionProbe(sizes, tokens, std::move(kv)).Run(); }).join();
  return measured;
}

}  // namespace millrace::server_internal
