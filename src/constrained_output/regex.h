// Regular expressions -> CharNfa and Nfa: the notation of ECMA-262 (edition 2023, section 22.2)
// with the u flag, without what is not regular or looks around: back references, look-ahead and
// -behind, \b and \B, \p. Laziness (`*?`) changes no language and is accepted. `.` is any character
// but a line end.
//
// Errors say at which byte. Nesting over kMaxRegexNesting and automata over CharNfa::kMaxStates are
// errors.
#pragma once

#include <string_view>

#include "base/result.h"
#include "constrained_output/char_nfa.h"
#include "constrained_output/nfa.h"

namespace millrace::constrained_internal {

inline constexpr int kMaxRegexNesting = 200;

// kWhole: the texts that match from end to end; kSearch: those that hold a match.
enum class RegexMatch { kWhole, kSearch };
Result<CharNfa> ParseRegex(std::string_view pattern, RegexMatch match);

// The whole text matches.
Result<Nfa> CompileRegex(std::string_view pattern);

}  // namespace millrace::constrained_internal
