#include "server/store_routes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "openai_api/store_json.h"
#include "prompt_reduction/candidates.h"
#include "prompt_reduction/passage_store.h"
#include "server/store_access.h"
#include "server/store_documents.h"

namespace millrace::server_internal {

using StoreAccess = PassageStore::Access;

StoreEntry ReadEntry(const NamedStore& named) {
  StoreEntry entry;
  entry.name = named.name;
  entry.writable = named.writable;
  struct statx file {};
  if (::statx(AT_FDCWD, named.file.c_str(), 0, STATX_BASIC_STATS | STATX_BTIME, &file) == 0) {
    entry.bytes = static_cast<int64_t>(file.stx_size);
    entry.changed_unix = file.stx_mtime.tv_sec;
    const bool born = (file.stx_mask & STATX_BTIME) != 0;  // not every file system knows it
    entry.created_unix = born ? file.stx_btime.tv_sec : file.stx_mtime.tv_sec;
  }
  auto store = PassageStore::Open(named.file, StoreAccess::kRead, kStoreLockPatience);
  const auto counts = store.ok() ? store->Counts() : Result<StoreCounts>(store.error());
  if (counts.ok()) {
    entry.counts = *counts;
    entry.vector_model = store->vector_model();
  } else {
    entry.problem = StoreError(counts.error(), named.name).message;
  }
  return entry;
}

namespace {

// Made whole under another name first: nobody sees half a store, and of two processes that create
// the same one, one fails.
Status CreateWhole(const std::string& file, const std::string& passing, const VectorModel* model) {
  Status made;
  if (const auto store = PassageStore::Create(passing, model); !store.ok()) made = store.error();
  const int failure = made.ok() && ::link(passing.c_str(), file.c_str()) != 0 ? errno : 0;
  for (const char* end : {"", "-wal", "-shm"}) ::unlink((passing + end).c_str());
  if (!made.ok()) return Error{made.error().message, ErrorKind::kIo};
  if (failure == EEXIST) return Error{file + " exists already", ErrorKind::kInvalidArgument};
  if (failure != 0) return Error{file + ": " + std::strerror(failure), ErrorKind::kIo};
  return {};
}

void SearchStore(const ContextPointer& context, const HttpRequest& request,
                 const NamedStore& named) {
  const auto parsed = ParseStoreSearch(request.body, context->shared().config.unknown_fields);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  const auto& search = std::get<StoreSearch>(parsed);
  auto opened = OpenStore(context, named, StoreAccess::kRead);
  if (const auto* error = std::get_if<ApiError>(&opened)) return context->Refuse(*error);
  const auto found = FindInStore(std::get<OpenedStore>(opened).store, search.question, search.most);
  if (!found.ok()) return context->Refuse(StoreError(found.error(), named.name));
  context->Reply(JsonResponse(200, StoreSearchJson(search.question, *found)));
}

void DeleteStore(const ContextPointer& context, const NamedStore& named) {
  if (const auto refused = RefuseChange(named)) return context->Refuse(*refused);
  const Status removed = PassageStore::Remove(named.file, kStoreLockPatience);
  if (!removed.ok()) return context->Refuse(StoreError(removed.error(), named.name));
  context->Reply(JsonResponse(200, DeletedJson(named.name, "vector_store.deleted")));
}

}  // namespace

void HandleListStores(const ContextPointer& context, const HttpRequest&) {
  std::vector<StoreEntry> entries;
  for (const auto& [name, store] : AllStores(context->shared().config)) {
    entries.push_back(ReadEntry(store));
  }
  context->Reply(JsonResponse(200, StoreListJson(entries)));
}

void HandleCreateStore(const ContextPointer& context, const HttpRequest& request) {
  const ServerConfig& config = context->shared().config;
  if (config.store_folder.empty()) {
    return context->Refuse(HttpApiError(
        403, "Stores cannot be created here: the server was started without --store-dir."));
  }
  const std::string otherwise = fmt::format("vs_{:016x}", config.random());
  const auto parsed = ParseStoreCreation(request.body, otherwise, config.unknown_fields);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  const auto& name = std::get<std::string>(parsed);
  const NamedStore named{name, FolderFile(config, name), true};
  const auto exists = [&] {
    ApiError error = HttpApiError(409, "The store '" + name + "' exists already.");
    error.param = "name";
    context->Refuse(error);
  };
  const auto stores = AllStores(config);
  if (stores.contains(name)) return exists();
  if (stores.size() >= kMaxFolderStores + config.stores.size()) {
    return context->Refuse(HttpApiError(
        403, fmt::format("There are {} stores already: delete one first.", kMaxFolderStores)));
  }
  const auto passing = std::filesystem::path(config.store_folder) /
                       fmt::format(".{}-{}-{}.new", name, ::getpid(), context->id());
  const auto& vectors = context->shared().vectors;
  const Status made = CreateWhole(named.file, passing.string(), vectors ? &*vectors : nullptr);
  if (!made.ok()) {
    if (made.error().kind == ErrorKind::kInvalidArgument) return exists();
    return context->Refuse(HttpApiError(
        500, "The store could not be made: --store-dir must be a folder that can be written to."));
  }
  context->Reply(JsonResponse(200, StoreJson(ReadEntry(named))));
}

void HandleStore(const ContextPointer& context, const HttpRequest& request) {
  const std::string_view rest = request.path_rest;
  const size_t slash = std::min(rest.find('/'), rest.size());
  const std::string_view what = rest.substr(slash);
  const auto found = FindStore(context->shared().config, rest.substr(0, slash));
  if (const auto* error = std::get_if<ApiError>(&found)) return context->Refuse(*error);
  const auto& named = std::get<NamedStore>(found);
  const std::string& method = request.method;
  if (method == "POST" && what == "/search") return SearchStore(context, request, named);
  if (method == "DELETE" && what.empty()) return DeleteStore(context, named);
  if ((method == "GET" || method == "HEAD") && what.empty()) {
    return context->Reply(JsonResponse(200, StoreJson(ReadEntry(named))));
  }
  if (HandleDocuments(context, request, named, what)) return;
  context->Refuse(HttpApiError(
      404, "There is nothing that " + method + " does at " + request.path.substr(0, 200) + "."));
}

}  // namespace millrace::server_internal
