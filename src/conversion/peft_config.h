// PEFT's adapter_config.json: how strong each pair is, and what a LoRA pair cannot say. Internal to
// conversion/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace millrace {

class PeftConfig {
 public:
  // Errors name the key and say why it cannot be converted.
  static Result<PeftConfig> Read(const std::filesystem::path& folder);

  // Of a module's pair: scaling * B A is added to its matrix.
  struct Scale {
    int64_t rank = 0;
    double factor = 0;  // alpha / rank, with rsLoRA alpha / sqrt(rank)
  };
  // Errors: a pattern that is too long for a regular expression to be tried on.
  Result<Scale> ScaleOf(const std::string& module) const;

  // The alpha that, over a pair's rank, gives the factor of pairs without a pattern.
  double file_alpha() const;

  std::string base;  // base_model_name_or_path

 private:
  // A module's value is that of the first pattern that matches its name or its end.
  struct Pattern {
    std::regex module;
    double value;
  };
  static Result<std::vector<Pattern>> Patterns(const std::string& key, const void* json);

  int64_t rank_ = 0;
  double alpha_ = 0;
  bool rslora_ = false;
  std::vector<Pattern> ranks_, alphas_;
};

}  // namespace millrace
