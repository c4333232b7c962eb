#include "sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/check.h"
#include "base/rng.h"
#include "sampling/logit_scan.h"

namespace millrace {
namespace {

constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();
constexpr size_t kFirstSelection = 64;  // most nuclei are smaller; grows by kSelectionGrowth
constexpr size_t kSelectionGrowth = 8;

// The order in which truncation keeps tokens: larger logits first, among equals smaller ids.
constexpr auto kBefore = [](const auto& a, const auto& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
};

}  // namespace

Sampler::Sampler(SamplingParams params, int32_t vocab_size)
    : params_(std::move(params)),
      vocab_size_(vocab_size),
      scale_(params_.temperature > 0.0f ? 1.0 / static_cast<double>(params_.temperature) : 1.0),
      kernels_(&WeightKernelsFor(DetectIsa())) {
  CHECK(vocab_size > 0);
}

void Sampler::ObservePrompt(std::span<const TokenId> prompt) {
  if (!HasRepetition()) return;
  for (TokenId token : prompt) CHECK(token.value >= 0 && token.value < vocab_size_);
  seen_.insert(seen_.end(), prompt.begin(), prompt.end());
  std::sort(seen_.begin(), seen_.end());
  seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
}

void Sampler::Observe(TokenId token) {
  CHECK(token.value >= 0 && token.value < vocab_size_);
  if (HasRepetition()) {
    const auto at = std::lower_bound(seen_.begin(), seen_.end(), token);
    if (at == seen_.end() || *at != token) seen_.insert(at, token);
  }
  if (HasCounts()) {
    const auto at =
        std::lower_bound(output_counts_.begin(), output_counts_.end(), token,
                         [](const auto& entry, TokenId wanted) { return entry.first < wanted; });
    if (at != output_counts_.end() && at->first == token) {
      ++at->second;
    } else {
      output_counts_.insert(at, {token, 1});
    }
  }
}

Sampled Sampler::Sample(std::span<const float> logits, int64_t position,
                        std::span<const uint64_t> allowed) {
  CHECK(logits.size() == static_cast<size_t>(vocab_size_));
  const std::span<const float> adjusted = Adjust(logits, allowed);
  Sampled result;
  result.token = params_.temperature == 0.0f ? ArgMax(adjusted) : Draw(adjusted, position);
  if (params_.top_logprobs >= 0) AddLogprobs(logits, result);
  return result;
}

Sampled Sampler::Score(std::span<const float> logits, TokenId token) {
  CHECK(logits.size() == static_cast<size_t>(vocab_size_) && params_.top_logprobs >= 0);
  Sampled result;
  result.token = token;
  AddLogprobs(logits, result);
  return result;
}

// The logits after bias, penalties and mask: `logits` itself where there are none.
std::span<const float> Sampler::Adjust(std::span<const float> logits,
                                       std::span<const uint64_t> allowed) {
  if (params_.logit_bias.empty() && seen_.empty() && output_counts_.empty() && allowed.empty()) {
    return logits;
  }
  adjusted_.assign(logits.begin(), logits.end());
  const auto logit_of = [this](TokenId token) -> float& {
    return adjusted_[static_cast<size_t>(token.value)];
  };
  for (const auto& [token, bias] : params_.logit_bias) logit_of(token) += bias;
  for (TokenId token : seen_) {
    float& logit = logit_of(token);
    logit = logit > 0.0f ? logit / params_.repetition_penalty : logit * params_.repetition_penalty;
  }
  for (const auto& [token, count] : output_counts_) {
    logit_of(token) -=
        params_.presence_penalty + params_.frequency_penalty * static_cast<float>(count);
  }
  if (!allowed.empty()) Mask(allowed);
  return adjusted_;
}

// Forbids tokens word by word: most words are all ones or all zeros.
void Sampler::Mask(std::span<const uint64_t> allowed) {
  constexpr size_t kBits = 64;
  for (size_t first = 0; first < adjusted_.size(); first += kBits) {
    const size_t count = std::min(kBits, adjusted_.size() - first);
    const size_t index = first / kBits;
    const uint64_t word = index < allowed.size() ? allowed[index] : 0;
    if (word == ~uint64_t{0}) continue;
    float* const logits = adjusted_.data() + first;
    for (size_t i = 0; i < count; ++i) {
      logits[i] = (word >> i & 1) != 0 ? logits[i] : kNegativeInfinity;
    }
  }
}

// The probability up to a factor, 1 for the best.
double Sampler::Weight(float logit, float max) const {
  double weight = 0.0;
  kernels_->weigh(&logit, 1, max, scale_, &weight);
  return weight;
}

TokenId Sampler::Draw(std::span<const float> logits, int64_t position) {
  const float max = MaxOf(logits);
  if (max == kNegativeInfinity) return TokenId(0);
  const double uniform = CounterRng(params_.seed, static_cast<uint64_t>(position)).NextDouble();

  const bool cuts_k = params_.top_k > 0 && params_.top_k < vocab_size_;
  const bool cuts_p = params_.top_p < 1.0f;
  if (!cuts_k && !cuts_p) return DrawFromAll(logits, max, uniform);

  if (cuts_k) SelectTop(logits, static_cast<size_t>(params_.top_k));
  if (cuts_k && cuts_p) {
    std::sort(candidates_.begin(), candidates_.end(), kBefore);
    double total = 0.0;
    for (const Candidate& candidate : candidates_) total += Weight(candidate.logit, max);
    CutToMass(max, total * static_cast<double>(params_.top_p));
  }
  if (!cuts_k) SelectTopP(logits, max);
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) { return a.token < b.token; });
  return DrawFromCandidates(max, uniform);
}

// Leaves the `count` best tokens in candidates_, in no order: a buffer of twice that size takes
// what beats the worst kept so far, and is cut to the best half whenever it is full.
void Sampler::SelectTop(std::span<const float> logits, size_t count) {
  CHECK(count > 0);
  const size_t capacity = std::min(2 * count, logits.size());
  candidates_.clear();
  candidates_.reserve(capacity);
  const auto cut = [this, count] {
    const auto last = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
    std::nth_element(candidates_.begin(), last - 1, candidates_.end(), kBefore);
    candidates_.erase(last, candidates_.end());
  };
  // Ids come in ascending order, so a later token with the logit of the worst kept one loses.
  float threshold = kNegativeInfinity;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] > threshold)) continue;
    candidates_.push_back({logits[i], TokenId(static_cast<int32_t>(i))});
    if (candidates_.size() < 2 * count) continue;
    cut();
    threshold = candidates_[count - 1].logit;
  }
  if (candidates_.size() > count) cut();
}

// Leaves in candidates_ the fewest best tokens whose share of the whole distribution is top_p.
void Sampler::SelectTopP(std::span<const float> logits, float max) {
  const double mass = SumOfWeights(logits, max, 0.0) * static_cast<double>(params_.top_p);
  for (size_t count = kFirstSelection;; count *= kSelectionGrowth) {
    SelectTop(logits, std::min(count, logits.size()));
    std::sort(candidates_.begin(), candidates_.end(), kBefore);
    if (CutToMass(max, mass) || count >= logits.size()) return;
  }
}

// Cuts candidates_ (best first) after the one with which their weights reach `mass`; false, and
// nothing cut, where all together do not.
bool Sampler::CutToMass(float max, double mass) {
  double sum = 0.0;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    sum += Weight(candidates_[i].logit, max);
    if (sum < mass) continue;
    candidates_.resize(i + 1);
    return true;
  }
  return false;
}

// The sum over all tokens with a weight of at least `least`, and in chunk_sums_ that of every
// chunk.
double Sampler::SumOfWeights(std::span<const float> logits, float max, double least) {
  chunk_sums_.clear();
  double total = 0.0;
  for (size_t first = 0; first < logits.size(); first += kWeightChunk) {
    const size_t count = std::min(kWeightChunk, logits.size() - first);
    chunk_sums_.push_back(kernels_->sum(logits.data() + first, count, max, scale_, least));
    total += chunk_sums_.back();
  }
  return total;
}

// Finds the chunk first, then the token within it, so that no weight needs to be stored.
TokenId Sampler::DrawFromAll(std::span<const float> logits, float max, double uniform) {
  const double least = static_cast<double>(params_.min_p);
  double left = uniform * SumOfWeights(logits, max, least);
  size_t chunk = 0;
  while (chunk + 1 < chunk_sums_.size() && left >= chunk_sums_[chunk]) left -= chunk_sums_[chunk++];

  // Rounding may leave a little more than the chunk holds: then its last kept token is it. A chunk
  // without one can be reached only that way, and only at the end: then the search goes back.
  for (;; --chunk) {
    const size_t first = chunk * kWeightChunk;
    const size_t count = std::min(kWeightChunk, logits.size() - first);
    double weights[kWeightChunk];
    kernels_->weigh(logits.data() + first, count, max, scale_, weights);
    std::optional<TokenId> last;
    for (size_t i = 0; i < count; ++i) {
      const double weight = weights[i];
      if (weight < least || weight == 0.0) continue;
      last = TokenId(static_cast<int32_t>(first + i));
      if (left < weight) return *last;
      left -= weight;
    }
    if (last) return *last;
    CHECK(chunk > 0);  // the best token always weighs 1
  }
}

TokenId Sampler::DrawFromCandidates(float max, double uniform) const {
  const double least = static_cast<double>(params_.min_p);
  double total = 0.0;
  for (const Candidate& candidate : candidates_) {
    const double weight = Weight(candidate.logit, max);
    if (weight >= least) total += weight;
  }
  double left = uniform * total;
  std::optional<TokenId> last;
  for (const Candidate& candidate : candidates_) {
    const double weight = Weight(candidate.logit, max);
    if (weight < least || weight == 0.0) continue;
    last = candidate.token;
    if (left < weight) break;
    left -= weight;
  }
  CHECK(last.has_value());  // the best token always weighs 1
  return *last;
}

// Log softmax of the model's own logits, added up in double precision.
void Sampler::AddLogprobs(std::span<const float> logits, Sampled& result) {
  const float max = MaxOf(logits);
  double sum = 0.0;
  for (size_t first = 0; first < logits.size(); first += kWeightChunk) {
    const size_t count = std::min(kWeightChunk, logits.size() - first);
    sum += kernels_->sum(logits.data() + first, count, max, 1.0, 0.0);
  }
  const double log_sum = std::log(sum);
  const auto logprob = [&](float logit) {
    if (!(logit > kNegativeInfinity)) return kLowestLogprob;
    const double difference =
        logit == max ? 0.0 : static_cast<double>(logit) - static_cast<double>(max);
    return std::max(static_cast<float>(difference - log_sum), kLowestLogprob);
  };
  result.logprob = logprob(logits[static_cast<size_t>(result.token.value)]);
  if (params_.top_logprobs == 0) return;
  SelectTop(logits, std::min(static_cast<size_t>(params_.top_logprobs), logits.size()));
  std::sort(candidates_.begin(), candidates_.end(), kBefore);
  for (const Candidate& candidate : candidates_) {
    result.top_logprobs.push_back({candidate.token, logprob(candidate.logit)});
  }
}

}  // namespace millrace
