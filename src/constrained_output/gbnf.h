// GBNF -> Nfa: the notation of llama.cpp's grammars (grammars/README.md there): rules
// `name ::= ...` with a rule `root`, literals, character classes, `.`, groups, alternatives, and
// the repetitions * + ? {m} {m,} {m,n}; comments begin with #.
//
// Errors say in which line. Left recursion, undefined rules, nesting over kMaxGbnfNesting and what
// NfaBuilder has no room for are errors.
#pragma once

#include <string_view>

#include "base/result.h"
#include "constrained_output/nfa.h"

namespace millrace::constrained_internal {

inline constexpr int kMaxGbnfNesting = 200;

Result<Nfa> CompileGbnf(std::string_view text);

}  // namespace millrace::constrained_internal
