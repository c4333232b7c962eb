// Asks a model all questions of a task, greedily and many at once, through the engine.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "documents.h"

namespace millrace {

struct Answer {
  std::string text;
  int32_t prompt_tokens = 0;
  int32_t output_tokens = 0;
};

using AnswerProgress = std::function<void(size_t done, size_t total)>;

// In the order of the items. Takes loaded.model. Errors: a question that does not fit the context.
Result<std::vector<Answer>> AnswerTask(const ModelFlags& flags, LoadedModel& loaded,
                                       const std::vector<TaskItem>& items, int32_t max_tokens,
                                       const AnswerProgress& progress = {});

// Loads the model that `path` names (with the other flags) and asks it.
Result<std::vector<Answer>> AnswerTask(const ModelFlags& flags, const std::string& path,
                                       const std::vector<TaskItem>& items, int32_t max_tokens,
                                       const AnswerProgress& progress = {});

// A progress line on stderr where that is a terminal.
AnswerProgress AnswerProgressLine();

}  // namespace millrace
