// What can be set and what is counted of speculation.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "speculative_decoding/drafter.h"

namespace millrace {

// kAuto: whichever drafter pays, as measured, or none. The others: that drafter, as long as it
// pays.
enum class Speculation { kOff, kAuto, kLookup, kSuffix, kDraft };
std::string_view NameOf(Speculation speculation);  // "off", "auto", "lookup", "suffix", "draft"
// An unknown name is an error that lists the choices.
Result<Speculation> ParseSpeculation(std::string_view name);

struct SpeculationConfig {
  Speculation mode = Speculation::kOff;
  int32_t max_draft = 12;  // tokens of one sequence in a step; 1 to kMaxDraft
  // Drafts of this length whether they pay or not; to test and to compare with.
  std::optional<int32_t> fixed_draft = std::nullopt;
  // Times steps of several lengths when the engine starts, so that the first drafts are of the
  // right length; otherwise the times are learnt as the steps run.
  bool measure_at_start = false;
};
Status Validate(const SpeculationConfig& config);

struct SpeculationStats {
  std::array<int64_t, kDrafterKinds> drafted{};   // tokens proposed and verified
  std::array<int64_t, kDrafterKinds> accepted{};  // of them, those that stayed
  std::array<int64_t, kMaxDraft> drafted_at{};    // by place in the draft
  std::array<int64_t, kMaxDraft> accepted_at{};
  int64_t verifications = 0;    // drafts verified
  int64_t verified_tokens = 0;  // tokens that these gave, the target's own among them
  Duration drafting{};
  Duration verifying{};  // steps that verified anything, without the drafting
  // What steps with drafts took less than plain steps would have for as many tokens, as estimated
  // from the plain steps measured; less than nothing: speculation lost time.
  Duration saved{};
};

}  // namespace millrace
