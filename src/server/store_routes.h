// /v1/vector_stores: the stores of passages that this server was given (ServerConfig::stores) and
// those in its folder (ServerConfig::store_folder), in OpenAI's shapes. Internal to server/.
//
// Requests read all of them, and change only those in the folder, which are the server's own: a
// file that --store names belongs to whoever runs `millrace index`. Where the server has an
// embedding model, what is made here holds vectors. Every key may do it to every
// store. A store is opened for each request, so that several processes may share a folder; where
// another writes to one, a change is refused with 503 after kStoreLockPatience.
#pragma once

#include "http/message.h"
#include "server/request_context.h"

namespace millrace::server_internal {

// GET and POST /v1/vector_stores.
void HandleListStores(const ContextPointer& context, const HttpRequest& request);
void HandleCreateStore(const ContextPointer& context, const HttpRequest& request);
// GET and DELETE /v1/vector_stores/ID; POST .../ID/search; what store_documents.h has.
void HandleStore(const ContextPointer& context, const HttpRequest& request);

}  // namespace millrace::server_internal
