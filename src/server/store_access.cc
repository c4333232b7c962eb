#include "server/store_access.h"

#include <filesystem>
#include <utility>

#include "openai_api/store_json.h"

namespace millrace::server_internal {
namespace {

constexpr std::string_view kStoreSuffix = ".db";

}  // namespace

std::string FolderFile(const ServerConfig& config, std::string_view name) {
  return (std::filesystem::path(config.store_folder) / name).string() + std::string(kStoreSuffix);
}

ApiResult<NamedStore> FindStore(const ServerConfig& config, std::string_view name) {
  const auto given = config.stores.find(std::string(name));
  if (given != config.stores.end()) return NamedStore{given->first, given->second, false};
  std::error_code code;
  if (!config.store_folder.empty() && IsStoreName(name)) {
    NamedStore store{std::string(name), FolderFile(config, name), true};
    if (std::filesystem::is_regular_file(store.file, code)) return store;
  }
  return HttpApiError(404, "There is no store '" + std::string(name.substr(0, 200)) + "' here.");
}

std::map<std::string, NamedStore> AllStores(const ServerConfig& config) {
  std::map<std::string, NamedStore> stores;
  for (const auto& [name, file] : config.stores) stores[name] = {name, file, false};
  if (config.store_folder.empty()) return stores;
  std::error_code code;
  std::filesystem::directory_iterator files(config.store_folder, code);
  for (; !code && files != std::filesystem::directory_iterator(); files.increment(code)) {
    const std::filesystem::path& path = files->path();
    const std::string name = path.stem().string();
    std::error_code unknown;
    if (path.extension() != kStoreSuffix || !IsStoreName(name) || !files->is_regular_file(unknown))
      continue;
    stores.try_emplace(name, NamedStore{name, path.string(), true});
  }
  return stores;
}

std::optional<ApiError> RefuseChange(const NamedStore& store) {
  if (store.writable) return std::nullopt;
  return HttpApiError(403, "The store '" + store.name +
                               "' was given with --store, so requests only read it: change it with "
                               "`millrace index`, or create one under --store-dir.");
}

ApiError StoreError(const Error& error, std::string_view store) {
  const std::string name(store);
  switch (error.kind) {
    case ErrorKind::kNotFound:
      return HttpApiError(404, "There is no store '" + name + "' here.");
    case ErrorKind::kExhausted: {
      ApiError busy = HttpApiError(503, "The store '" + name + "' is in use by others: try again.");
      busy.code = "store_busy";
      return busy;
    }
    case ErrorKind::kIo:
    case ErrorKind::kInternal:
      return HttpApiError(500, "The store '" + name +
                                   "' cannot be read: `millrace index verify` says what is wrong.");
    default:
      return HttpApiError(400, "The store '" + name +
                                   "' cannot be used: it is no store of this program's version.");
  }
}

ApiError AddingError(const Error& error, std::string_view name) {
  if (error.kind != ErrorKind::kUnsupported) return StoreError(error, name);
  return HttpApiError(400, "The store '" + std::string(name) + "' " + error.message + ".");
}

ApiResult<OpenedStore> OpenStore(const ContextPointer& context, const NamedStore& named,
                                 PassageStore::Access access) {
  auto store = PassageStore::Open(named.file, access, kStoreLockPatience);
  if (!store.ok()) return StoreError(store.error(), named.name);
  OpenedStore opened = {nullptr, std::move(*store)};
  const auto& vectors = context->shared().vectors;
  if (!vectors) return opened;
  opened.model = std::make_unique<VectorModel>(*vectors);
  opened.model->embed =
      [context, &vectors](std::span<const std::string> texts) -> Result<std::vector<float>> {
    if (context->responder().disconnected()) {
      return Error{"the client has gone", ErrorKind::kExhausted};
    }
    return vectors->embed(texts);
  };
  const Status used = opened.store.UseModel(*opened.model);
  if (!used.ok()) return AddingError(used.error(), named.name);
  return opened;
}

Status CheckGivenStores(const Shared& shared) {
  if (!shared.vectors) return {};
  for (const auto& [name, file] : shared.config.stores) {
    ASSIGN_OR_RETURN(PassageStore store, PassageStore::Open(file, PassageStore::Access::kRead));
    const Status used = store.UseModel(*shared.vectors);
    if (!used.ok()) return Error{"--store " + name + ": " + file + " " + used.error().message};
  }
  return {};
}

}  // namespace millrace::server_internal
