// Which stores of passages a server has, and what a client is told where one cannot be used.
// Internal to server/.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "openai_api/api_error.h"
#include "prompt_reduction/passage_store.h"
#include "server/server.h"

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

}  // namespace millrace::server_internal
