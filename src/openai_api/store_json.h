// The bodies of /v1/vector_stores: stores of passages in OpenAI's shapes. Texts are added as JSON;
// file uploads are not offered, and fields that ask for them are refused.
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

// {"name"}: the new store's name, which is its id too.
ApiResult<std::string> ParseStoreCreation(std::string_view body, UnknownFields unknown);
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
  bool writable = false;  // through this server
  std::string problem;    // why it cannot be read, a sentence; empty: it can
};
// A "vector_store"; the passages, and what OpenAI's has no field for, under "millrace".
std::string StoreJson(const StoreEntry& store);
std::string StoreListJson(std::span<const StoreEntry> stores);
// What a deletion answers: `object` is "vector_store.deleted" or "vector_store.document.deleted".
std::string DeletedJson(std::string_view id, std::string_view object);
// A "vector_store.search_results.page": a passage a row, best first; its score is BM25's, which has
// no upper end; attributes.begin is the byte of its document at which it begins.
std::string StoreSearchJson(std::string_view question, std::span<const FoundPassage> found);

}  // namespace millrace
