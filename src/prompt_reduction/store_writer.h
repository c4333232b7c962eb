// One transaction that changes a store of passages. Internal to prompt_reduction/.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "prompt_reduction/passage_store.h"
#include "prompt_reduction/search_terms.h"
#include "prompt_reduction/sqlite.h"

namespace millrace {

// Without Commit, nothing has changed. Its counts of words are kept in memory until then: about
// 100 bytes for each different word.
class StoreWriter {
 public:
  // Both must outlive it.
  static Result<StoreWriter> Begin(SqliteDatabase& database, TermReader& reader);

  Status Insert(const StoredDocument& document);
  Result<bool> Remove(std::string_view id);
  Status Commit();

 private:
  StoreWriter(SqliteDatabase& database, TermReader& reader, SqliteTransaction transaction)
      : database_(&database), reader_(&reader), transaction_(std::move(transaction)) {}

  Status InsertPassage(int64_t document, const Passage& passage);
  void Count(const Passage& passage, int64_t sign);
  Status WriteCounts();

  SqliteDatabase* database_;
  TermReader* reader_;
  SqliteTransaction transaction_;
  std::vector<SqliteStatement> statements_;
  std::unordered_map<std::string, int64_t> holders_;  // changes of how many passages have a word
  int64_t words_ = 0;                                 // changes of the totals
  int64_t passages_ = 0;
  std::vector<std::string> scratch_;
};

}  // namespace millrace
