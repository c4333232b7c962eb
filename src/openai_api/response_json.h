// Parts that the forms of an answer share. Internal to openai_api/.
#pragma once

#include <vector>

#include "openai_api/json_fields.h"
#include "openai_api/response.h"

namespace millrace::openai_internal {

// [{"token", "logprob", "bytes", "top_logprobs"}]
Json TokenLogprobs(const std::vector<TokenReport>& reports);
// {"index" (of a chunk), "id", "type", "function": {"name", "arguments"}}
enum class CallForm { kWhole, kPiece };
Json ToolCallJson(const ToolCallText& call, CallForm form);
// usage.millrace: the savings ledger, with what became of a request's passages.
Json LedgerJson(const ResponseHead& head, const Usage& usage);

}  // namespace millrace::openai_internal
