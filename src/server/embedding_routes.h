// /v1/embeddings and /v1/rerank. Internal to server/.
//
// A worker thread parses and tokenises; the model's own thread computes and, since that is cheap
// beside it, writes the answer.
#pragma once

#include "server/request_context.h"

namespace millrace::server_internal {

void HandleEmbeddings(const ContextPointer& context, const HttpRequest& request);
void HandleRerank(const ContextPointer& context, const HttpRequest& request);

}  // namespace millrace::server_internal
