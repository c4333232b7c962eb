// The switch of prompt reduction, as the command line and requests write it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"
#include "prompt_reduction/reduce.h"

namespace millrace {

inline constexpr size_t kMaxTop = 1000;  // of top:K

// "auto", "off" or "top:K", 1 <= K <= kMaxTop. The error says so.
Result<ReductionConfig> ParseReduction(std::string_view text);
// The other way.
std::string NameOf(const ReductionConfig& config);

}  // namespace millrace
