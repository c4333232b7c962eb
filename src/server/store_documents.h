// /v1/vector_stores/ID/...: the documents of a store, under OpenAI's names (files, file_batches)
// and as `documents`. Internal to server/.
#pragma once

#include <string_view>

#include "http/message.h"
#include "openai_api/store_json.h"
#include "server/request_context.h"
#include "server/store_access.h"

namespace millrace::server_internal {

// What GET of a store tells; its problem where it cannot be read.
StoreEntry ReadEntry(const NamedStore& named);

// Answers where `what` (the path behind the store's name) is one of these; else false:
//   POST /documents                  {"documents": [{"id", "text", "title"}]} -> the store
//   POST /files                      {"file_id", "text", "title"} -> a vector_store.file
//   POST /file_batches               {"files": [those]} -> a vector_store.file_batch, completed
//   GET /files?limit=&after=         by id
//   GET /files/ID, /files/ID/content the document; its passages
//   DELETE /files/ID, /documents/ID
// A document whose id ends with "/content" is found only by its search.
bool HandleDocuments(const ContextPointer& context, const HttpRequest& request,
                     const NamedStore& named, std::string_view what);

}  // namespace millrace::server_internal
