// A chat's passages: into the prompt that the template renders, and what the answer tells of them.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "prompt_reduction/reduce.h"

namespace millrace {

// Where passages stand in a prompt.
enum class PassagePlace {
  kSystemMessage,  // numbered lines behind the system message, or in one of their own
  kTemplate,       // the template's variable `documents`: {"doc_id": its number, "title", "text"}
};

// `chat_json` (ChatRequest::template_json) with the passages in it, numbered from 1.
Result<std::string> ChatWithPassages(std::string_view chat_json,
                                     std::span<const JudgedPassage> passages, PassagePlace place);

// What became of a request's passages.
struct ReductionReport {
  std::string mode;  // "auto", "off", "top:3"
  ReducedPrompt reduced;
  double took_ms = 0;
  double pruning_ms = 0;  // of it: scoring the words of passages
};

}  // namespace millrace
