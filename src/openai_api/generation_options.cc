#include "openai_api/generation_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "openai_api/cache_options.h"
#include "openai_api/constraint_options.h"
#include "openai_api/schedule_options.h"
#include "openai_api/speculation_options.h"

namespace millrace::openai_internal {
namespace {

void ParseStop(Fields& fields, GenerationOptions& options) {
  const Json* stop = fields.Find("stop");
  if (stop == nullptr) return;
  if (stop->is_string()) {
    options.stop.push_back(stop->get<std::string>());
  } else if (stop->is_array()) {
    if (stop->size() > kMaxStopStrings) {
      fields.Fail("stop", fmt::format("'stop' holds {} strings, but at most {} are allowed.",
                                      stop->size(), kMaxStopStrings));
      return;
    }
    for (const Json& item : *stop) {
      if (!item.is_string()) {
        fields.Fail("stop", "'stop' must be a string or an array of strings.", "invalid_type");
        return;
      }
      options.stop.push_back(item.get<std::string>());
    }
  } else {
    fields.Fail("stop", "'stop' must be a string or an array of strings.", "invalid_type");
  }
  for (const std::string& text : options.stop) {
    if (text.empty()) fields.Fail("stop", "'stop' holds an empty string.", "invalid_value");
    if (text.size() > 1024) fields.Fail("stop", "A stop string is longer than 1024 bytes.");
  }
}

void ParseLogitBias(Fields& fields, GenerationOptions& options) {
  const Json* bias = fields.Find("logit_bias");
  if (bias == nullptr) return;
  if (!bias->is_object()) {
    fields.Fail("logit_bias", "'logit_bias' must be an object from token id to number.",
                "invalid_type");
    return;
  }
  for (const auto& [name, value] : bias->items()) {
    int64_t id = 0;
    const bool digits = !name.empty() && name.size() <= 9 &&
                        name.find_first_not_of("0123456789") == std::string::npos;
    if (digits) id = std::stoll(name);
    const double amount = value.is_number() ? value.get<double>() : 1000.0;
    if (!digits || !(amount >= -100.0 && amount <= 100.0)) {
      fields.Fail("logit_bias",
                  "'logit_bias' must map token ids to numbers from -100 to 100; see '" +
                      name.substr(0, 40) + "'.",
                  "invalid_value");
      return;
    }
    options.sampling.logit_bias.emplace_back(TokenId(static_cast<int32_t>(id)),
                                             static_cast<float>(amount));
  }
}

void ParseStream(Fields& fields, GenerationOptions& options) {
  options.stream = fields.Bool("stream").value_or(false);
  const Json* stream_options = fields.Find("stream_options");
  if (stream_options == nullptr) return;
  if (!stream_options->is_object()) {
    fields.Fail("stream_options", "'stream_options' must be an object.", "invalid_type");
  } else if (!options.stream) {
    fields.Fail("stream_options", "'stream_options' is allowed only with 'stream': true.");
  } else if (const auto found = stream_options->find("include_usage");
             found != stream_options->end() && !found->is_null()) {
    if (found->is_boolean()) {
      options.include_usage = found->get<bool>();
    } else {
      fields.Fail("stream_options.include_usage", "'include_usage' must be true or false.",
                  "invalid_type");
    }
  }
}

// Known to the design, not done by this server: ignoring them would give a wrong answer silently.
void RefuseUnsupported(Fields& fields) {
  for (const char* name : {"functions", "function_call"}) {
    const Json* value = fields.Find(name);
    if (value == nullptr || *value == "" || (value->is_array() && value->empty())) continue;
    fields.Fail(name, fmt::format("'{}' is not supported: say 'tools' and 'tool_choice'.", name),
                "unsupported_parameter");
  }
}

}  // namespace

GenerationOptions ParseOptions(Fields& fields, int64_t fewest) {
  GenerationOptions options;
  SamplingParams& sampling = options.sampling;
  const auto set = [&](float& target, const char* name, double low, double high) {
    if (const auto value = fields.Number(name, low, high)) target = static_cast<float>(*value);
  };
  options.model = fields.String("model").value_or("");
  set(sampling.temperature, "temperature", 0.0, 2.0);
  set(sampling.top_p, "top_p", 0.0, 1.0);
  if (sampling.top_p == 0.0f) sampling.top_k = 1;  // the most likely token alone, as elsewhere
  if (sampling.top_p == 0.0f) sampling.top_p = 1.0f;
  set(sampling.min_p, "min_p", 0.0, 0.9999);
  set(sampling.presence_penalty, "presence_penalty", -2.0, 2.0);
  set(sampling.frequency_penalty, "frequency_penalty", -2.0, 2.0);
  set(sampling.repetition_penalty, "repetition_penalty", 0.01, 100.0);
  if (const auto top_k = fields.Int("top_k", -1, kMaxInt32)) {
    if (sampling.top_k != 1) sampling.top_k = static_cast<int32_t>(std::max<int64_t>(*top_k, 0));
  }
  if (const auto seed = fields.Int("seed", std::numeric_limits<int64_t>::min(),
                                   std::numeric_limits<int64_t>::max())) {
    sampling.seed = static_cast<uint64_t>(*seed);
    options.has_seed = true;
  }
  options.n = static_cast<int>(fields.Int("n", 1, kMaxChoices).value_or(1));
  options.ignore_eos = fields.Bool("ignore_eos").value_or(false);
  if (const auto max = fields.Int("max_tokens", fewest, kMaxInt32)) {
    options.max_tokens = static_cast<int32_t>(*max);
  }
  ParseStop(fields, options);
  ParseLogitBias(fields, options);
  ParseStream(fields, options);
  RefuseUnsupported(fields);
  ParseConstraintOptions(fields, options);
  ParseCacheOptions(fields, options);
  ParseScheduleOptions(fields, options);
  ParseSpeculationOptions(fields, options);
  fields.String("user");
  fields.String("prompt_cache_key");  // a hint
  return options;
}

}  // namespace millrace::openai_internal
