// TextPattern -> Nfa. Internal to constrained_output/.
#pragma once

#include "base/result.h"
#include "constrained_output/nfa.h"
#include "constrained_output/output_vocabulary.h"
#include "constrained_output/text_pattern.h"

namespace millrace::constrained_internal {

// Repetitions of more than kMaxRepetition, parts that do not compile and what is too large together
// are errors. `vocabulary` says which markers are control tokens.
Result<Nfa> CompilePattern(const TextPattern& pattern, const OutputVocabulary& vocabulary);

}  // namespace millrace::constrained_internal
