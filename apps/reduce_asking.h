// Asks a server the questions of a study of prompt reduction: times to the first token, tokens
// reused, answers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/reduction_study.h"

namespace millrace {

struct AskingOptions {
  std::string model;            // empty: the embedded one
  std::string store;            // empty: the questions' own passages
  std::string embedding_model;  // empty: none
  std::string system;
  std::string serve_flags;
  size_t questions = 0;  // the first so many
  int32_t max_tokens = 1;
  bool judge = false;
  uint64_t seed = 1;
};

// Starts `millrace serve` and asks one request after the other, three times each question under
// each setting, in random order of settings: with the prefix cache off (cold); with it, each
// setting in a cache of its own (what is reused); and once more (warm). Fills `asked` of the
// outcomes; of a question that failed in any of them it stays absent. Gives how many requests
// failed; an error where all did.
Result<int64_t> AskServer(const AskingOptions& options, const std::vector<StudySetting>& settings,
                          const std::vector<StudyQuestion>& questions, StudyOutcomes& outcomes);

}  // namespace millrace
