#include "speculative_decoding/speculation.h"

#include <algorithm>
#include <string>

namespace millrace {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"off", "auto", "lookup", "suffix", "draft"};

}  // namespace

std::string_view NameOf(Speculation speculation) {
  return kNames[static_cast<size_t>(speculation)];
}

Result<Speculation> ParseSpeculation(std::string_view name) {
  const auto at = std::find(kNames.begin(), kNames.end(), name);
  if (at == kNames.end()) {
    return Error{"unknown speculation '" + std::string(name) +
                 "': choose auto, off, lookup, suffix or draft"};
  }
  return static_cast<Speculation>(at - kNames.begin());
}

Status Validate(const SpeculationConfig& config) {
  if (config.max_draft < 1 || config.max_draft > kMaxDraft) {
    return Error{"The longest draft is " + std::to_string(config.max_draft) +
                 " tokens, but must be 1 to " + std::to_string(kMaxDraft) + "."};
  }
  if (config.fixed_draft && *config.fixed_draft < 1) {
    return Error{"The fixed length of drafts is " + std::to_string(*config.fixed_draft) +
                 " tokens, but must be at least 1."};
  }
  return {};
}

}  // namespace millrace
