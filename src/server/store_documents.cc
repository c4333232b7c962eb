#include "server/store_documents.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "prompt_reduction/passage_store.h"

namespace millrace::server_internal {
namespace {

using DocumentAccess = PassageStore::Access;

constexpr size_t kListedFiles = 20;  // as OpenAI's
constexpr size_t kMostListedFiles = 100;

// Opens the store, or refuses.
std::optional<OpenedStore> OpenOrRefuse(const ContextPointer& context, const NamedStore& named,
                                        DocumentAccess access) {
  if (access == DocumentAccess::kWrite) {
    if (const auto refused = RefuseChange(named)) {
      context->Refuse(*refused);
      return std::nullopt;
    }
  }
  auto opened = OpenStore(context, named, access);
  if (auto* open = std::get_if<OpenedStore>(&opened)) return std::move(*open);
  context->Refuse(std::get<ApiError>(opened));
  return std::nullopt;
}

// Whether the documents are in; else it has refused.
bool AddOrRefuse(const ContextPointer& context, const NamedStore& named,
                 std::span<const StoredDocument> documents) {
  auto open = OpenOrRefuse(context, named, DocumentAccess::kWrite);
  if (!open) return false;
  const Status added = open->store.Add(documents);
  if (!added.ok()) context->Refuse(AddingError(added.error(), named.name));
  return added.ok();
}

void RefuseUnknown(const ContextPointer& context, const NamedStore& named, std::string_view id) {
  context->Refuse(HttpApiError(404, "The store '" + named.name + "' has no document '" +
                                        std::string(id.substr(0, 200)) + "'."));
}

void AddDocuments(const ContextPointer& context, const HttpRequest& request,
                  const NamedStore& named) {
  const auto parsed = ParseStoreDocuments(request.body, context->shared().config.unknown_fields);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  if (!AddOrRefuse(context, named, std::get<std::vector<StoredDocument>>(parsed))) return;
  context->Reply(JsonResponse(200, StoreJson(ReadEntry(named))));
}

void AddFile(const ContextPointer& context, const HttpRequest& request, const NamedStore& named) {
  const auto parsed = ParseStoreFile(request.body, context->shared().config.unknown_fields);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  const auto& document = std::get<StoredDocument>(parsed);
  auto open = OpenOrRefuse(context, named, DocumentAccess::kWrite);
  if (!open) return;
  const Status added = open->store.Add({&document, 1});
  if (!added.ok()) return context->Refuse(AddingError(added.error(), named.name));
  const auto entry = open->store.Find(document.id);
  if (!entry.ok()) return context->Refuse(StoreError(entry.error(), named.name));
  if (!*entry) return RefuseUnknown(context, named, document.id);  // another has deleted it
  context->Reply(JsonResponse(200, StoreFileJson(named.name, **entry)));
}

void AddFileBatch(const ContextPointer& context, const HttpRequest& request,
                  const NamedStore& named) {
  const auto parsed = ParseStoreFileBatch(request.body, context->shared().config.unknown_fields);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  const auto& documents = std::get<std::vector<StoredDocument>>(parsed);
  if (!AddOrRefuse(context, named, documents)) return;
  context->Reply(JsonResponse(200, StoreFileBatchJson(named.name, "vsfb_" + context->id(),
                                                      std::time(nullptr), documents.size())));
}

// The value that a query gives `name`, percent-decoded; empty where it gives none.
std::string QueryText(std::string_view query, std::string_view name) {
  for (size_t at = 0; at < query.size();) {
    const size_t end = std::min(query.find('&', at), query.size());
    const std::string_view part = query.substr(at, end - at);
    if (part.size() > name.size() && part.starts_with(name) && part[name.size()] == '=') {
      HttpRequest decoded;
      const Status parsed = ParseTarget("/" + std::string(part.substr(name.size() + 1)), decoded);
      return parsed.ok() ? decoded.path.substr(1) : std::string();
    }
    at = end + 1;
  }
  return {};
}

void ListFiles(const ContextPointer& context, const HttpRequest& request, const NamedStore& named) {
  const std::string stated = QueryText(request.query, "limit");
  size_t limit = kListedFiles;
  const char* stated_end = stated.data() + stated.size();
  const auto read = std::from_chars(stated.data(), stated_end, limit);
  if (!stated.empty() &&
      (read.ec != std::errc() || read.ptr != stated_end || limit < 1 || limit > kMostListedFiles)) {
    ApiError error = HttpApiError(400, fmt::format("'limit' must be 1 to {}.", kMostListedFiles));
    error.param = "limit";
    return context->Refuse(error);
  }
  auto open = OpenOrRefuse(context, named, DocumentAccess::kRead);
  if (!open) return;
  auto entries = open->store.List(QueryText(request.query, "after"), limit + 1);
  if (!entries.ok()) return context->Refuse(StoreError(entries.error(), named.name));
  const bool more = entries->size() > limit;
  if (more) entries->pop_back();
  context->Reply(JsonResponse(200, StoreFileListJson(named.name, *entries, more)));
}

void ReadOneFile(const ContextPointer& context, const NamedStore& named, std::string_view id) {
  auto open = OpenOrRefuse(context, named, DocumentAccess::kRead);
  if (!open) return;
  constexpr std::string_view kContent = "/content";
  const bool content = id.ends_with(kContent) && id.size() > kContent.size();
  if (content) id.remove_suffix(kContent.size());
  const auto entry = open->store.Find(id);
  if (!entry.ok()) return context->Refuse(StoreError(entry.error(), named.name));
  if (!*entry) return RefuseUnknown(context, named, id);
  if (!content) return context->Reply(JsonResponse(200, StoreFileJson(named.name, **entry)));
  const auto passages = open->store.PassagesOf(id);
  if (!passages.ok()) return context->Refuse(StoreError(passages.error(), named.name));
  context->Reply(JsonResponse(200, StoreFileContentJson(*passages)));
}

void DeleteDocument(const ContextPointer& context, const NamedStore& named, std::string_view id,
                    std::string_view object) {
  auto open = OpenOrRefuse(context, named, DocumentAccess::kWrite);
  if (!open) return;
  const Result<bool> there = open->store.Delete(id);
  if (!there.ok()) return context->Refuse(StoreError(there.error(), named.name));
  if (!*there) return RefuseUnknown(context, named, id);
  context->Reply(JsonResponse(200, DeletedJson(id, object)));
}

}  // namespace

bool HandleDocuments(const ContextPointer& context, const HttpRequest& request,
                     const NamedStore& named, std::string_view what) {
  constexpr std::string_view kFiles = "/files", kDocuments = "/documents";
  const auto below = [what](std::string_view folder) {  // what is named in it
    const bool inside =
        what.starts_with(folder) && what.size() > folder.size() + 1 && what[folder.size()] == '/';
    return inside ? what.substr(folder.size() + 1) : std::string_view();
  };
  const std::string_view file = below(kFiles), document = below(kDocuments);
  const std::string& method = request.method;
  const bool get = method == "GET" || method == "HEAD";
  if (method == "POST" && what == kDocuments) {
    AddDocuments(context, request, named);
  } else if (method == "POST" && what == kFiles) {
    AddFile(context, request, named);
  } else if (method == "POST" && what == "/file_batches") {
    AddFileBatch(context, request, named);
  } else if (get && what == kFiles) {
    ListFiles(context, request, named);
  } else if (get && !file.empty()) {
    ReadOneFile(context, named, file);
  } else if (method == "DELETE" && !file.empty()) {
    DeleteDocument(context, named, file, "vector_store.file.deleted");
  } else if (method == "DELETE" && !document.empty()) {
    DeleteDocument(context, named, document, "vector_store.document.deleted");
  } else {
    return false;
  }
  return true;
}

}  // namespace millrace::server_internal
