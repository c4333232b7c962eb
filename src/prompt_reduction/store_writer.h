// One transaction that changes a store of passages. Internal to prompt_reduction/.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "prompt_reduction/passage_store.h"
#include "prompt_reduction/search_terms.h"
#include "prompt_reduction/sentence_chunks.h"
#include "prompt_reduction/sqlite.h"

namespace millrace {

// Without Commit, nothing has changed. Its counts of words are kept in memory until then: about
// 100 bytes for each different word.
class StoreWriter {
 public:
  // Both must outlive it. `packed_width`: of the vectors that the store keeps (store_vectors.h); 0:
  // it keeps none.
  static Result<StoreWriter> Begin(SqliteDatabase& database, TermReader& reader,
                                   size_t packed_width = 0);

  // `passages`: of the document's text. Takes a vector for each from the front of `vectors`.
  Status Insert(const StoredDocument& document, std::span<const TextSpan> passages,
                std::span<const uint16_t>& vectors);
  Result<bool> Remove(std::string_view id);
  Status Commit();

 private:
  StoreWriter(SqliteDatabase& database, TermReader& reader, SqliteTransaction transaction,
              size_t packed_width)
      : database_(&database),
        reader_(&reader),
        transaction_(std::move(transaction)),
        packed_width_(packed_width) {}

  Status InsertPassage(int64_t document, const Passage& passage, std::span<const uint16_t> vector);
  void Count(const Passage& passage, int64_t sign);
  Status WriteCounts();

  SqliteDatabase* database_;
  TermReader* reader_;
  SqliteTransaction transaction_;
  size_t packed_width_;
  std::vector<SqliteStatement> statements_;
  std::unordered_map<std::string, int64_t> holders_;  // changes of how many passages have a word
  int64_t words_ = 0;                                 // changes of the totals
  int64_t passages_ = 0;
  std::vector<std::string> scratch_;
};

}  // namespace millrace
