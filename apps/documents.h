// Text files for the verbs that measure quality: plain text, or JSONL of which each line is a
// document or a question.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/quality.h"
#include "lab/task.h"
#include "model_loading.h"

namespace millrace {

// Which tokens of a document with an answer are scored.
enum class ScoredPart { kAll, kAnswers };

struct DocumentOptions {
  int32_t window = 512;  // of plain text
  ScoredPart part = ScoredPart::kAll;
  int64_t max_tokens = 0;  // stop after about so many; 0: no limit
};

// FILE.jsonl: each line {"text": ...}, or a task's line (lab/task.h) whose answer follows the
// prompt; a line is a document and a cluster of its own. Any other file: windows of plain text.
// "demo": the built-in demo task.
Result<std::vector<Document>> ReadDocuments(const std::string& path, const LoadedModel& loaded,
                                            const DocumentOptions& options);

// A task file, or "demo".
Result<std::vector<TaskItem>> ReadTask(const std::string& path);

// The tokens of a question as the model is asked: through the chat template where it has one.
Result<std::vector<TokenId>> EncodeQuestion(const TaskItem& item, const LoadedModel& loaded);

}  // namespace millrace
