// Which stores of passages a server has, and what a client is told where one cannot be used.
// Internal to server/.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "openai_api/api_error.h"
#include "prompt_reduction/passage_store.h"
#include "server/request_context.h"

namespace millrace::server_internal {

// How long a worker waits for another process's lock: workers are few.
inline constexpr std::chrono::milliseconds kStoreLockPatience{500};
inline constexpr size_t kMaxFolderStores = 1000;

struct NamedStore {
  std::string name;
  std::string file;
  bool writable = false;  // it is in the server's own folder
};

// The store with that name, or a 404. Of two, --store's.
ApiResult<NamedStore> FindStore(const ServerConfig& config, std::string_view name);
// All of them, by name.
std::map<std::string, NamedStore> AllStores(const ServerConfig& config);
// Where a store of that name would be in the server's folder.
std::string FolderFile(const ServerConfig& config, std::string_view name);
// A 403 where requests only read it.
std::optional<ApiError> RefuseChange(const NamedStore& store);
// Names the store, never its file: 503 `store_busy` where another process holds it, 500 where it
// cannot be read, 400 where what was to be added is at fault or it is no store.
ApiError StoreError(const Error& error, std::string_view name);

// What adding documents failed with: as StoreError, but where the embedding model is at fault it
// says so.
ApiError AddingError(const Error& error, std::string_view name);

// An open store that uses the server's embedding model, where both are there. Its vectors are made
// for one request: when that client has gone, no more are.
struct OpenedStore {
  std::unique_ptr<VectorModel> model;  // before the store, which refers to it
  PassageStore store;
};
// Waits for kStoreLockPatience. A 400 where the store's vectors are another model's.
ApiResult<OpenedStore> OpenStore(const ContextPointer& context, const NamedStore& named,
                                 PassageStore::Access access);

// That the stores of --store can be used with the embedding model.
Status CheckGivenStores(const Shared& shared);

}  // namespace millrace::server_internal
