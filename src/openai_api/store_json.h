// The bodies of /v1/vector_stores: stores of passages in OpenAI's shapes. A document of the store
// is OpenAI's "file"; its text is given beside its id, as files are not uploaded. What cannot be
// done here (attributes, filters, chunking by the client) is refused, not ignored.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "openai_api/api_error.h"
#include "openai_api/request_parser.h"
#include "prompt_reduction/passage_store.h"

namespace millrace {

inline constexpr size_t kMaxStoreName = 64;           // bytes
inline constexpr size_t kMaxStoreQuestion = 1 << 16;  // bytes
inline constexpr int64_t kMaxStoreResults = 50;       // as OpenAI's

// 1 to kMaxStoreName of A-Z, a-z, 0-9, '_' and '-': safe in a path and in a file's name.
bool IsStoreName(std::string_view name);

// {"name"}: the new store's name, which is its id too; where there is none, `otherwise`.
ApiResult<std::string> ParseStoreCreation(std::string_view body, std::string_view otherwise,
                                          UnknownFields unknown);
// {"file_id", "text", "title"}, and {"files": [those]}.
ApiResult<StoredDocument> ParseStoreFile(std::string_view body, UnknownFields unknown);
ApiResult<std::vector<StoredDocument>> ParseStoreFileBatch(std::string_view body,
                                                           UnknownFields unknown);
// {"documents": [{"id", "text", "title"}]}: every one with an id.
ApiResult<std::vector<StoredDocument>> ParseStoreDocuments(std::string_view body,
                                                           UnknownFields unknown);

struct StoreSearch {
  std::string question;  // of several, all of them, one a line
  size_t most = 10;      // 1 to kMaxStoreResults
};
// {"query": "..." or ["..."], "max_num_results"}.
ApiResult<StoreSearch> ParseStoreSearch(std::string_view body, UnknownFields unknown);

// Of one store, what is told.
struct StoreEntry {
  std::string name;
  int64_t created_unix = 0;
  int64_t changed_unix = 0;
  int64_t bytes = 0;  // of its file
  StoreCounts counts;
  std::string vector_model;  // whose vectors it holds; empty: none
  bool writable = false;     // through this server
  std::string problem;       // why it cannot be read, a sentence; empty: it can
};
// A "vector_store"; the passages, and what OpenAI's has no field for, under "millrace".
std::string StoreJson(const StoreEntry& store);
std::string StoreListJson(std::span<const StoreEntry> stores);
// Documents as "vector_store.file"; the passages of one as its content, each with where it
// begins in the document (in bytes: usage.millrace.reduction tells of kept passages so); what
// adding several answers.
std::string StoreFileJson(std::string_view store, const DocumentEntry& document);
std::string StoreFileListJson(std::string_view store, std::span<const DocumentEntry> documents,
                              bool more);
std::string StoreFileContentJson(std::span<const Passage> passages);
std::string StoreFileBatchJson(std::string_view store, std::string_view id, int64_t now_unix,
                               size_t documents);
// What a deletion answers: `object` is "vector_store.deleted", "vector_store.file.deleted" or
// "vector_store.document.deleted".
std::string DeletedJson(std::string_view id, std::string_view object);
// A "vector_store.search_results.page": a passage a row, best first; its score is BM25's, which has
// no upper end, or the fused rank's (FindInStore); attributes.begin is the byte of its document at
// which it begins.
std::string StoreSearchJson(std::string_view question, std::span<const FoundPassage> found);

}  // namespace millrace
