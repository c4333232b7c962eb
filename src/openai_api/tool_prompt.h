// Tools for a chat template that knows none: described in words, in the system message.
#pragma once

#include <string>
#include <string_view>

#include "answer_parts/answer_style.h"
#include "base/result.h"

namespace millrace {

// The chat (ChatRequest::template_json) with its tools, the assistant's calls and their results as
// text: calls as the model is asked to write them, results as the user's words.
Result<std::string> ChatWithToolsAsText(std::string_view chat_json, const AnswerStyle& style);

}  // namespace millrace
