// /v1/vector_stores: the stores of passages that this server was given (ServerConfig::stores) and
// those in its folder (ServerConfig::store_folder), in OpenAI's shapes. Internal to server/.
//
// Requests read all of them, and change only those in the folder, which are the server's own: a
// file that --store names belongs to whoever runs `millrace index`. Every key may do it to every
// store. A store is opened for each request, so that several processes may share a folder; where
// another writes to one, a change is refused with 503 after kStoreLockPatience: workers are few.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"
#include "server/request_context.h"

namespace millrace::server_internal {

inline constexpr std::chrono::milliseconds kStoreLockPatience{500};
inline constexpr size_t kMaxFolderStores = 1000;

// The file of the store with that name; nothing where there is none. Of two, --store's.
std::optional<std::string> FindStoreFile(const ServerConfig& config, std::string_view name);

// GET and POST /v1/vector_stores.
void HandleListStores(const ContextPointer& context, const HttpRequest& request);
void HandleCreateStore(const ContextPointer& context, const HttpRequest& request);
// GET and DELETE /v1/vector_stores/ID; POST .../ID/documents and .../ID/search;
// DELETE .../ID/documents/DOCUMENT.
void HandleStore(const ContextPointer& context, const HttpRequest& request);

}  // namespace millrace::server_internal
