#include "prompt_reduction/store_writer.h"

#include <algorithm>
#include <utility>

namespace millrace {
namespace {

enum StatementName {
  kAddDocument,
  kAddPassage,
  kAddWords,
  kFindDocument,
  kPassagesOf,
  kForgetWords,
  kDropPassages,
  kDropDocument,
  kAddTerm,
  kAddTotals,
  kAddVector,  // from here on only where there are vectors
  kDropVectors,
  kStatementCount
};
constexpr const char* kSources[kStatementCount] = {
    "INSERT INTO documents (name, title, bytes) VALUES (?, ?, ?)",
    "INSERT INTO passages (document, begin, text) VALUES (?, ?, ?)",
    "INSERT INTO words (rowid, title, text) VALUES (?, ?, ?)",
    "SELECT id, title FROM documents WHERE name = ?",
    "SELECT id, text FROM passages WHERE document = ?",
    // FTS5 must be told what it once read.
    "INSERT INTO words (words, rowid, title, text) VALUES ('delete', ?, ?, ?)",
    "DELETE FROM passages WHERE document = ?", "DELETE FROM documents WHERE id = ?",
    ("INSERT INTO terms (term, passages) VALUES (?1, ?2) "
     "ON CONFLICT DO UPDATE SET passages = passages + ?2"),
    "UPDATE totals SET passages = passages + ?, words = words + ?",
    "INSERT INTO vectors (id, vector) VALUES (?, ?)",
    "DELETE FROM vectors WHERE id IN (SELECT id FROM passages WHERE document = ?)"};

}  // namespace

Result<StoreWriter> StoreWriter::Begin(SqliteDatabase& database, TermReader& reader,
                                       size_t packed_width) {
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database));
  StoreWriter writer(database, reader, std::move(transaction), packed_width);
  for (int i = 0; i < (packed_width > 0 ? kStatementCount : kAddVector); ++i) {
    ASSIGN_OR_RETURN(SqliteStatement statement, database.Prepare(kSources[i]));
    writer.statements_.push_back(std::move(statement));
  }
  return writer;
}

Status StoreWriter::Insert(const StoredDocument& document, std::span<const TextSpan> passages,
                           std::span<const uint16_t>& vectors) {
  const Result<bool> replaced = Remove(document.id);
  if (!replaced.ok()) return replaced.error();
  RETURN_IF_ERROR(statements_[kAddDocument]
                      .Bind(1, document.id)
                      .Bind(2, document.title)
                      .Bind(3, static_cast<int64_t>(document.text.size()))
                      .Run());
  const int64_t row = database_->last_row();
  const std::string_view text = document.text;
  for (const TextSpan& span : passages) {
    const Passage passage = {.id = document.id,
                             .title = document.title,
                             .text = std::string(text.substr(span.begin, span.end - span.begin)),
                             .begin = span.begin};
    RETURN_IF_ERROR(InsertPassage(row, passage, vectors.first(packed_width_)));
    vectors = vectors.subspan(packed_width_);
  }
  return {};
}

Status StoreWriter::InsertPassage(int64_t document, const Passage& passage,
                                  std::span<const uint16_t> vector) {
  RETURN_IF_ERROR(statements_[kAddPassage]
                      .Bind(1, document)
                      .Bind(2, static_cast<int64_t>(passage.begin))
                      .Bind(3, passage.text)
                      .Run());
  const int64_t id = database_->last_row();
  if (packed_width_ > 0) {
    RETURN_IF_ERROR(statements_[kAddVector].Bind(1, id).Bind(2, std::as_bytes(vector)).Run());
  }
  RETURN_IF_ERROR(
      statements_[kAddWords].Bind(1, id).Bind(2, passage.title).Bind(3, passage.text).Run());
  Count(passage, 1);
  return {};
}

Result<bool> StoreWriter::Remove(std::string_view id) {
  SqliteStatement& find = statements_[kFindDocument];
  ASSIGN_OR_RETURN(const bool there, find.Bind(1, id).Step());
  const int64_t document = there ? find.Int(0) : 0;
  const std::string title = there ? find.Text(1) : "";
  find.Reset();
  if (!there) return false;
  SqliteStatement& passages = statements_[kPassagesOf];
  passages.Bind(1, document);
  while (true) {
    ASSIGN_OR_RETURN(const bool row, passages.Step());
    if (!row) break;
    const Passage passage = {.id = "", .title = title, .text = passages.Text(1)};
    RETURN_IF_ERROR(statements_[kForgetWords]
                        .Bind(1, passages.Int(0))
                        .Bind(2, title)
                        .Bind(3, passage.text)
                        .Run());
    Count(passage, -1);
  }
  passages.Reset();
  if (packed_width_ > 0) RETURN_IF_ERROR(statements_[kDropVectors].Bind(1, document).Run());
  RETURN_IF_ERROR(statements_[kDropPassages].Bind(1, document).Run());
  RETURN_IF_ERROR(statements_[kDropDocument].Bind(1, document).Run());
  return true;
}

// As RankByBm25 counts: title words weigh two in a passage's length.
void StoreWriter::Count(const Passage& passage, int64_t sign) {
  scratch_.clear();
  const auto take = [&](std::string_view term) { scratch_.emplace_back(term); };
  reader_->Read(passage.title, take);
  const size_t title_words = scratch_.size();
  reader_->Read(passage.text, take);
  words_ += sign * static_cast<int64_t>(scratch_.size() + title_words);
  passages_ += sign;
  std::sort(scratch_.begin(), scratch_.end());
  scratch_.erase(std::unique(scratch_.begin(), scratch_.end()), scratch_.end());
  for (const std::string& word : scratch_) holders_[word] += sign;
}

Status StoreWriter::WriteCounts() {
  // In order, so that the table's pages are written one after the other.
  std::vector<std::pair<std::string_view, int64_t>> changes(holders_.begin(), holders_.end());
  std::sort(changes.begin(), changes.end());
  for (const auto& [term, change] : changes) {
    if (change != 0) RETURN_IF_ERROR(statements_[kAddTerm].Bind(1, term).Bind(2, change).Run());
  }
  return statements_[kAddTotals].Bind(1, passages_).Bind(2, words_).Run();
}

Status StoreWriter::Commit() {
  RETURN_IF_ERROR(WriteCounts());
  return transaction_.Commit();
}

}  // namespace millrace
