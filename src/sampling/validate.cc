#include <fmt/format.h>

#include <cmath>

#include "sampling/sampler.h"

namespace millrace {
namespace {

// Written so that a NaN is out of every range.
bool Within(float value, float low, float high) { return value >= low && value <= high; }

Error OutOfRange(std::string_view name, float value, std::string_view range) {
  return {fmt::format("{} is {}, but must be {}.", name, value, range)};
}

Status ValidateBias(const SamplingParams& params, int32_t vocab_size) {
  for (const auto& [token, bias] : params.logit_bias) {
    if (token.value < 0 || token.value >= vocab_size) {
      return Error{
          fmt::format("logit_bias names token {}, but the model's vocabulary has the ids 0 to {}.",
                      token.value, vocab_size - 1)};
    }
    if (!Within(bias, -100.0f, 100.0f)) return OutOfRange("logit_bias", bias, "from -100 to 100");
  }
  return {};
}

}  // namespace

Status Validate(const SamplingParams& params, int32_t vocab_size) {
  if (!Within(params.temperature, 0.0f, 2.0f)) {
    return OutOfRange("temperature", params.temperature, "from 0 to 2");
  }
  if (params.top_k < 0) {
    return Error{fmt::format("top_k is {}, but must be 0 (all tokens) or more.", params.top_k)};
  }
  if (!Within(params.top_p, 0.0f, 1.0f) || params.top_p == 0.0f) {
    return OutOfRange("top_p", params.top_p, "above 0 and at most 1");
  }
  if (!Within(params.min_p, 0.0f, 1.0f) || params.min_p == 1.0f) {
    return OutOfRange("min_p", params.min_p, "at least 0 and below 1");
  }
  if (!(params.repetition_penalty > 0.0f) || !std::isfinite(params.repetition_penalty)) {
    return OutOfRange("repetition_penalty", params.repetition_penalty, "above 0 and finite");
  }
  if (!Within(params.presence_penalty, -2.0f, 2.0f)) {
    return OutOfRange("presence_penalty", params.presence_penalty, "from -2 to 2");
  }
  if (!Within(params.frequency_penalty, -2.0f, 2.0f)) {
    return OutOfRange("frequency_penalty", params.frequency_penalty, "from -2 to 2");
  }
  if (params.top_logprobs > 20) {
    return Error{fmt::format("top_logprobs is {}, but must be from 0 to 20.", params.top_logprobs)};
  }
  return ValidateBias(params, vocab_size);
}

}  // namespace millrace
