// The routes that generate text, and what they share with others. Internal to server/.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"
#include "server/request_context.h"
#include "tokenizer/tokenizer.h"

namespace millrace::server_internal {

void HandleChat(const ContextPointer& context, const HttpRequest& request);
void HandleCompletion(const ContextPointer& context, const HttpRequest& request);
void HandleResponses(const ContextPointer& context, const HttpRequest& request);
void HandleMessages(const ContextPointer& context, const HttpRequest& request);
void HandleCountTokens(const ContextPointer& context, const HttpRequest& request);

// The served model's id, an alias or an adapter; no name at all means the one model there is.
std::optional<ApiError> CheckModel(const ServedModel& model, const std::string& name);
// A text that is no rendered template.
std::vector<TokenId> EncodePlain(const Tokenizer& tokenizer, std::string_view text, bool add_bos,
                                 SpecialTokens special);

}  // namespace millrace::server_internal
