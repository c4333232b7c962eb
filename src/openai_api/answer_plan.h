// What a chat's answer must look like, and how it is taken apart, by a model of a certain style.
#pragma once

#include <string>
#include <string_view>

#include "answer_parts/answer_reader.h"
#include "answer_parts/answer_style.h"
#include "openai_api/request_parser.h"

namespace millrace {

struct AnswerPlan {
  OutputConstraint constraint;
  AnswerReading reading;
};
// `prompt`: as rendered, without the request's prefill.
AnswerPlan PlanAnswer(const AnswerStyle& style, const ChatRequest& chat, std::string_view prompt);

// A constraint of one way, as a pattern.
TextPattern PatternOf(const OutputConstraint& constraint);

}  // namespace millrace
