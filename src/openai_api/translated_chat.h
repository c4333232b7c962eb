// The bodies of /v1/responses and /v1/messages: JSON -> the one internal chat request, and the
// format that its answer is written in. So whatever a chat can do, these can, and whatever is
// refused in a chat is refused here.
//
// Fields that the other interface has no name for (seed, top_k, documents, millrace, ...) mean what
// they mean in a chat.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "openai_api/answer_format.h"
#include "openai_api/request_parser.h"

namespace millrace {

struct TranslatedChat {
  ChatRequest chat;
  std::unique_ptr<AnswerFormat> format;
};

// OpenAI's Responses (platform.openai.com/docs/api-reference/responses). Nothing is stored, so
// previous_response_id, conversation and background are refused.
ApiResult<TranslatedChat> ParseResponsesRequest(std::string_view body, UnknownFields unknown);

// Anthropic's Messages (docs.anthropic.com/en/api/messages). A last message of the assistant is the
// beginning of the answer (ChatRequest::prefill).
ApiResult<TranslatedChat> ParseMessagesRequest(std::string_view body, UnknownFields unknown);
// The same body, but that max_tokens may be absent.
ApiResult<ChatRequest> ParseCountTokensRequest(std::string_view body, UnknownFields unknown);
// The body of a chat that asks for the same, but for the beginning of an answer: for those who
// record traffic.
ApiResult<std::string> ResponsesAsChat(std::string_view body);
ApiResult<std::string> MessagesAsChat(std::string_view body);
// {"input_tokens": N}
std::string InputTokensJson(int64_t tokens);

// A refusal in Anthropic's shape: {"type": "error", "error": {"type", "message"}, "request_id"}.
std::string MessagesErrorJson(const ApiError& error, std::string_view request_id);

}  // namespace millrace
