#include "openai_api/store_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "openai_api/field_tables.h"
#include "openai_api/passage_options.h"

namespace millrace {
namespace {

using openai_internal::Dump;
using openai_internal::Fields;
using openai_internal::Json;
using openai_internal::ParseDocuments;
using openai_internal::ParseJsonObject;

// A field of OpenAI's that cannot be done here; null, false and [] ask for nothing.
void RefuseField(Fields& fields, const char* name, const char* instead) {
  const Json* value = fields.Find(name);
  if (value == nullptr || *value == false || value->empty()) return;
  fields.Fail(name, fmt::format("'{}' is not offered here: {}.", name, instead),
              "unsupported_parameter");
}

std::string QuestionOf(Fields& fields) {
  const Json* query = fields.Find("query");
  std::string question;
  bool texts = query != nullptr && (query->is_string() || query->is_array());
  if (texts && query->is_string()) {
    question = query->get<std::string>();
  } else if (texts) {
    for (const Json& part : *query) {
      texts = texts && part.is_string();
      if (texts) question += (question.empty() ? "" : "\n") + part.get<std::string>();
    }
  }
  if (!texts || question.empty()) {
    fields.Fail("query", "'query' must be a question: a string that is not empty, or some.",
                "invalid_type");
  } else if (question.size() > kMaxStoreQuestion) {
    fields.Fail("query",
                fmt::format("'query' has {} bytes, but at most {} are allowed: shorten it.",
                            question.size(), kMaxStoreQuestion),
                "invalid_value");
  }
  return question;
}

// One of OpenAI's files, with its text beside its id.
StoredDocument FileOf(Fields& file) {
  StoredDocument document;
  document.id = file.String("file_id").value_or("");
  document.title = file.String("title").value_or("");
  const auto text = file.String("text");
  document.text = text.value_or("");
  RefuseField(file, "attributes", "documents have a title and no attributes");
  RefuseField(file, "chunking_strategy", "texts are cut at sentence ends");
  if (document.id.empty() || document.id.size() > kMaxStoredId) {
    file.Fail("file_id",
              fmt::format("'file_id' must be a string of 1 to {} bytes: the document's id.",
                          kMaxStoredId),
              "invalid_value");
  } else if (!text) {
    file.Fail("text",
              "'text' is missing: files are not uploaded, so give the document's text here.",
              "missing_required_parameter");
  } else if (document.title.size() > kMaxStoredTitle) {
    file.Fail("title", fmt::format("'title' has {} bytes, but at most {} are allowed: shorten it.",
                                   document.title.size(), kMaxStoredTitle));
  }
  return document;
}

// What `read` makes of the body's fields. Beside its own, a body may have those that it does not
// know.
template <class Read>
auto ParseStoreBody(std::string_view body, UnknownFields unknown, Read read)
    -> ApiResult<decltype(read(std::declval<Fields&>()))> {
  const auto parsed = ParseJsonObject(body);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return *error;
  Fields fields(std::get<Json>(parsed));
  auto value = read(fields);
  if (unknown == UnknownFields::kRefuse) fields.RefuseOthers();
  if (!fields.ok()) return fields.error();
  return value;
}

Json FileCountsJson(int64_t documents) {
  return {{"in_progress", 0},
          {"completed", documents},
          {"failed", 0},
          {"cancelled", 0},
          {"total", documents}};
}

Json FileJson(std::string_view store, const DocumentEntry& document) {
  return {{"id", document.id},
          {"object", "vector_store.file"},
          {"usage_bytes", document.bytes},
          {"vector_store_id", store},
          {"status", "completed"},
          {"last_error", nullptr},
          {"attributes", Json::object()},
          {"millrace", {{"title", document.title}, {"passages", document.passages}}}};
}

// A page of a list: its data, the first and the last id in it, and whether there is more.
Json PageJson(Json data, bool more) {
  const bool none = data.empty();
  const Json first = none ? Json(nullptr) : data.front()["id"];
  const Json last = none ? Json(nullptr) : data.back()["id"];
  return {{"object", "list"},
          {"data", std::move(data)},
          {"first_id", first},
          {"last_id", last},
          {"has_more", more}};
}

Json EntryJson(const StoreEntry& store) {
  Json own = {{"passages", store.counts.passages}, {"writable", store.writable}};
  if (!store.vector_model.empty()) own["embedding_model"] = store.vector_model;
  if (!store.problem.empty()) own["problem"] = store.problem;
  return {{"id", store.name},
          {"object", "vector_store"},
          {"created_at", store.created_unix},
          {"name", store.name},
          {"usage_bytes", store.bytes},
          {"file_counts", FileCountsJson(store.counts.documents)},
          {"status", store.problem.empty() ? "completed" : "in_progress"},
          {"last_active_at", store.changed_unix},
          {"metadata", Json::object()},
          {"millrace", std::move(own)}};
}

std::string ReadStoreCreation(Fields& fields, std::string_view otherwise) {
  std::string name = fields.String("name").value_or(std::string(otherwise));
  RefuseField(fields, "file_ids", "add texts with POST /v1/vector_stores/ID/file_batches");
  RefuseField(fields, "expires_after", "a store stays until it is deleted");
  RefuseField(fields, "chunking_strategy", "texts are cut at sentence ends");
  RefuseField(fields, "metadata", "a store has only its name");
  if (!IsStoreName(name)) {
    fields.Fail("name",
                fmt::format("'name' must have 1 to {} letters (A-Z, a-z), digits, '_' or '-'.",
                            kMaxStoreName),
                "invalid_value");
  }
  return name;
}

std::vector<StoredDocument> ReadStoreDocuments(Fields& fields) {
  std::vector<Passage> passages;
  ParseDocuments(fields, passages);
  if (passages.empty()) {
    fields.Fail("documents",
                "'documents' must be an array of objects {\"id\", \"text\", \"title\"}, one at "
                "least.",
                "invalid_value");
  }
  std::vector<StoredDocument> documents;
  for (Passage& passage : passages) {
    if (passage.id.empty()) {
      const std::string where = fmt::format("documents[{}].id", documents.size());
      fields.Fail(where, fmt::format("'{}' must be a string that is not empty.", where),
                  "invalid_value");
    }
    documents.push_back({std::move(passage.id), std::move(passage.title), std::move(passage.text)});
  }
  return documents;
}

std::vector<StoredDocument> ReadStoreFileBatch(Fields& fields, UnknownFields unknown) {
  RefuseField(fields, "file_ids", "files are not uploaded, so give 'files' with their texts");
  RefuseField(fields, "attributes", "documents have a title and no attributes");
  RefuseField(fields, "chunking_strategy", "texts are cut at sentence ends");
  const Json* files = fields.Find("files");
  if (files == nullptr || !files->is_array() || files->empty() || files->size() > kMaxDocuments) {
    fields.Fail("files",
                fmt::format("'files' must be an array of 1 to {} objects {{\"file_id\", \"text\", "
                            "\"title\"}}.",
                            kMaxDocuments),
                "invalid_value");
  }
  std::vector<StoredDocument> documents;
  for (size_t i = 0; fields.ok() && i < files->size(); ++i) {
    const std::string where = fmt::format("files[{}]", i);
    if (!(*files)[i].is_object()) {
      fields.Fail(where, fmt::format("'{}' must be an object.", where), "invalid_type");
      break;
    }
    Fields file((*files)[i]);
    documents.push_back(FileOf(file));
    if (unknown == UnknownFields::kRefuse) file.RefuseOthers();
    if (file.ok()) continue;
    fields.Fail(where + "." + file.error().param, where + ": " + file.error().message,
                file.error().code);
  }
  return documents;
}

StoreSearch ReadStoreSearch(Fields& fields) {
  StoreSearch search;
  search.question = QuestionOf(fields);
  const auto most = fields.Int("max_num_results", 1, kMaxStoreResults);
  if (most) search.most = static_cast<size_t>(*most);
  RefuseField(fields, "filters", "documents have no attributes to filter by");
  RefuseField(fields, "ranking_options",
              "passages are ranked by BM25 and, where there are some, by vectors");
  RefuseField(fields, "rewrite_query", "the query is searched as it is");
  return search;
}

}  // namespace

bool IsStoreName(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= kMaxStoreName &&
         std::all_of(name.begin(), name.end(), allowed);
}

ApiResult<std::string> ParseStoreCreation(std::string_view body, std::string_view otherwise,
                                          UnknownFields unknown) {
  return ParseStoreBody(body, unknown,
                        [&](Fields& fields) { return ReadStoreCreation(fields, otherwise); });
}

ApiResult<std::vector<StoredDocument>> ParseStoreDocuments(std::string_view body,
                                                           UnknownFields unknown) {
  return ParseStoreBody(body, unknown, [&](Fields& fields) { return ReadStoreDocuments(fields); });
}

ApiResult<StoredDocument> ParseStoreFile(std::string_view body, UnknownFields unknown) {
  return ParseStoreBody(body, unknown, [&](Fields& fields) { return FileOf(fields); });
}

ApiResult<std::vector<StoredDocument>> ParseStoreFileBatch(std::string_view body,
                                                           UnknownFields unknown) {
  return ParseStoreBody(body, unknown,
                        [&](Fields& fields) { return ReadStoreFileBatch(fields, unknown); });
}

ApiResult<StoreSearch> ParseStoreSearch(std::string_view body, UnknownFields unknown) {
  return ParseStoreBody(body, unknown, [&](Fields& fields) { return ReadStoreSearch(fields); });
}

namespace openai_internal {

FieldTable StoreCreationFields() {
  return TableOf([](Fields& fields) { ReadStoreCreation(fields, ""); });
}
FieldTable StoreFileFields() { return TableOf(FileOf); }
FieldTable StoreFileBatchFields() {
  return TableOf([](Fields& fields) { ReadStoreFileBatch(fields, UnknownFields::kIgnore); });
}
FieldTable StoreDocumentsFields() { return TableOf(ReadStoreDocuments); }
FieldTable StoreSearchFields() { return TableOf(ReadStoreSearch); }

}  // namespace openai_internal

std::string StoreJson(const StoreEntry& store) { return Dump(EntryJson(store)); }

std::string StoreListJson(std::span<const StoreEntry> stores) {
  Json data = Json::array();
  for (const StoreEntry& store : stores) data.push_back(EntryJson(store));
  return Dump(PageJson(std::move(data), false));
}

std::string StoreFileJson(std::string_view store, const DocumentEntry& document) {
  return Dump(FileJson(store, document));
}

std::string StoreFileListJson(std::string_view store, std::span<const DocumentEntry> documents,
                              bool more) {
  Json data = Json::array();
  for (const DocumentEntry& document : documents) data.push_back(FileJson(store, document));
  return Dump(PageJson(std::move(data), more));
}

std::string StoreFileContentJson(std::span<const Passage> passages) {
  Json data = Json::array();
  for (const Passage& passage : passages) {
    data.push_back({{"type", "text"}, {"text", passage.text}, {"begin", passage.begin}});
  }
  return Dump({{"object", "vector_store.file_content.page"},
               {"data", std::move(data)},
               {"has_more", false},
               {"next_page", nullptr}});
}

std::string StoreFileBatchJson(std::string_view store, std::string_view id, int64_t now_unix,
                               size_t documents) {
  return Dump({{"id", id},
               {"object", "vector_store.file_batch"},
               {"created_at", now_unix},
               {"vector_store_id", store},
               {"status", "completed"},
               {"file_counts", FileCountsJson(static_cast<int64_t>(documents))}});
}

std::string DeletedJson(std::string_view id, std::string_view object) {
  return Dump({{"id", id}, {"object", object}, {"deleted", true}});
}

std::string StoreSearchJson(std::string_view question, std::span<const FoundPassage> found) {
  Json json = {{"object", "vector_store.search_results.page"},
               {"search_query", Json::array({question})},
               {"data", Json::array()},
               {"has_more", false},
               {"next_page", nullptr}};
  for (const FoundPassage& f : found) {
    const std::string& title = f.passage.title;
    Json content = Json::array();
    content.push_back({{"type", "text"}, {"text", f.passage.text}});
    json["data"].push_back({{"file_id", f.passage.id},
                            {"filename", title.empty() ? f.passage.id : title},
                            {"score", f.score},
                            {"attributes", {{"begin", f.passage.begin}}},
                            {"content", std::move(content)}});
  }
  return Dump(json);
}

}  // namespace millrace
