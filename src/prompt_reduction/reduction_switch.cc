#include "prompt_reduction/reduction_switch.h"

#include <charconv>

namespace millrace {

Result<ReductionConfig> ParseReduction(std::string_view text) {
  constexpr std::string_view kTop = "top:";
  ReductionConfig config;
  if (text == "auto") return config;
  if (text == "off") {
    config.mode = ReductionMode::kOff;
    return config;
  }
  if (text.substr(0, kTop.size()) == kTop) {
    const std::string_view digits = text.substr(kTop.size());
    config.mode = ReductionMode::kTop;
    const auto [end, code] =
        std::from_chars(digits.data(), digits.data() + digits.size(), config.most);
    const bool whole = code == std::errc() && end == digits.data() + digits.size();
    if (whole && config.most >= 1 && config.most <= kMaxTop) return config;
  }
  return Error{"prompt reduction must be \"auto\", \"off\" or \"top:K\" with K from 1 to " +
               std::to_string(kMaxTop)};
}

std::string NameOf(const ReductionConfig& config) {
  if (config.mode == ReductionMode::kOff) return "off";
  return config.mode == ReductionMode::kAuto ? "auto" : "top:" + std::to_string(config.most);
}

}  // namespace millrace
