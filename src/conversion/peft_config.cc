#include "conversion/peft_config.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "conversion/hugging_face_files.h"

namespace millrace {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxPatternBytes = 300;  // and of a module's name

Error ConfigError(const std::string& what, ErrorKind kind = ErrorKind::kInvalidArgument) {
  return Error{"adapter_config.json: " + what, kind};
}

bool IsSet(const Json& config, const char* key) {
  const auto at = config.find(key);
  if (at == config.end() || at->is_null() || *at == false || *at == "") return false;
  return !at->is_structured() || !at->empty();
}

// What would be lost.
Status CheckSupported(const Json& config) {
  const std::string type = config.value("peft_type", "");
  if (type != "LORA") {
    return ConfigError("an adapter of type '" + type + "' is not supported; known is LORA",
                       ErrorKind::kUnsupported);
  }
  static constexpr std::pair<const char*, const char*> kRefused[] = {
      {"use_dora", "DoRA scales whole rows of the merged matrix, which a LoRA pair cannot say"},
      {"use_qalora", "QALoRA's pairs are of grouped columns"},
      {"modules_to_save", "whole matrices take the place of the base model's"},
      {"trainable_token_indices", "tokens of the embedding were trained themselves"},
      {"lora_bias", "biases were added to the pairs"},
      {"alora_invocation_tokens", "the adapter begins to act at certain tokens (aLoRA)"},
      {"layer_replication", "layers of the base model are repeated"},
      {"target_parameters", "parameters without a linear layer of their own were adapted"},
      {"fan_in_fan_out", "the base model's matrices are stored transposed"}};
  for (const auto& [key, why] : kRefused) {
    if (!IsSet(config, key)) continue;
    return ConfigError(std::string("'") + key + "' is not supported (" + why +
                           "): merge the adapter into the model and convert that",
                       ErrorKind::kUnsupported);
  }
  if (IsSet(config, "bias") && config["bias"] != "none") {
    return ConfigError("'bias' is not 'none': trained biases are not supported",
                       ErrorKind::kUnsupported);
  }
  const auto begun = config.find("init_lora_weights");
  if (begun == config.end() || !begun->is_string()) return {};
  const auto& way = begun->get_ref<const std::string&>();
  for (const char* changes : {"pissa", "olora", "corda", "loftq"}) {
    if (!way.starts_with(changes)) continue;
    return ConfigError("'init_lora_weights' is '" + way +
                           "', which changed the base model's weights too: save the adapter with "
                           "path_initial_model_for_weight_conversion",
                       ErrorKind::kUnsupported);
  }
  return {};
}

// `module` as PEFT matches it: the whole name, or what stands behind a dot.
Result<std::regex> ModulePattern(const std::string& key, const std::string& pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return ConfigError("a pattern in '" + key + "' is longer than " +
                       std::to_string(kMaxPatternBytes) + " bytes");
  }
  try {  // the library's only way to say so
    return std::regex("(.*\\.)?(" + pattern + ")", std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::regex_error&) {
    return ConfigError("'" + pattern + "' in '" + key + "' is no regular expression");
  }
}

}  // namespace

Result<std::vector<PeftConfig::Pattern>> PeftConfig::Patterns(const std::string& key,
                                                              const void* json) {
  const Json& config = *static_cast<const Json*>(json);
  std::vector<Pattern> patterns;
  if (!IsSet(config, key.c_str())) return patterns;
  if (!config[key].is_object()) return ConfigError("'" + key + "' is no object");
  for (const auto& [pattern, value] : config[key].items()) {
    if (!value.is_number() || !std::isfinite(value.get<double>()))
      return ConfigError("'" + key + "' has a value that is no number");
    ASSIGN_OR_RETURN(std::regex module, ModulePattern(key, pattern));
    patterns.push_back({std::move(module), value.get<double>()});
  }
  return patterns;
}

Result<PeftConfig> PeftConfig::Read(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "adapter_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    const bool model = std::filesystem::exists(folder / "config.json", ignored);
    return Error{path.string() + " is missing: " +
                     (model ? "this is a model, which `millrace quantize` converts"
                            : "give a folder that PEFT saved an adapter in"),
                 ErrorKind::kNotFound};
  }
  ASSIGN_OR_RETURN(const Json config, ReadJson(path, true));
  if (!config.is_object()) return ConfigError("it holds no object");
  RETURN_IF_ERROR(CheckSupported(config));
  PeftConfig read;
  const auto rank = config.find("r"), alpha = config.find("lora_alpha");
  if (rank == config.end() || !rank->is_number_integer() || rank->get<int64_t>() < 1 ||
      rank->get<int64_t>() > (1 << 20)) {
    return ConfigError("'r' must be a rank of at least 1");
  }
  if (alpha == config.end() || !alpha->is_number() || !std::isfinite(alpha->get<double>()) ||
      alpha->get<double>() == 0) {
    return ConfigError("'lora_alpha' must be a number other than 0");
  }
  read.rank_ = rank->get<int64_t>();
  read.alpha_ = alpha->get<double>();
  read.rslora_ = IsSet(config, "use_rslora");
  const auto base = config.find("base_model_name_or_path");
  if (base != config.end() && base->is_string()) read.base = base->get<std::string>();
  ASSIGN_OR_RETURN(read.ranks_, Patterns("rank_pattern", &config));
  ASSIGN_OR_RETURN(read.alphas_, Patterns("alpha_pattern", &config));
  return read;
}

double PeftConfig::file_alpha() const {
  return rslora_ ? alpha_ * std::sqrt(static_cast<double>(rank_)) : alpha_;
}

Result<PeftConfig::Scale> PeftConfig::ScaleOf(const std::string& module) const {
  if (module.size() > kMaxPatternBytes)
    return ConfigError("the adapter changes a module whose name is longer than any model's");
  const auto value = [&](const std::vector<Pattern>& patterns, double otherwise) {
    for (const Pattern& pattern : patterns) {
      if (std::regex_match(module, pattern.module)) return pattern.value;
    }
    return otherwise;
  };
  const double rank = value(ranks_, static_cast<double>(rank_));
  if (!(rank >= 1 && rank <= (1 << 20))) return ConfigError("'rank_pattern' has a rank below 1");
  const double alpha = value(alphas_, alpha_);
  return Scale{static_cast<int64_t>(rank), alpha / (rslora_ ? std::sqrt(rank) : rank)};
}

}  // namespace millrace
