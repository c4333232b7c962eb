#include "prompt_reduction/passage_store.h"

#include <algorithm>
#include <filesystem>
#include <thread>
#include <unordered_map>
#include <utility>

#include "prompt_reduction/ranking.h"
#include "prompt_reduction/search_terms.h"
#include "prompt_reduction/sqlite.h"
#include "prompt_reduction/store_schema.h"
#include "prompt_reduction/store_writer.h"

namespace millrace {
namespace {

constexpr size_t kMostFound = 200;
constexpr size_t kMostQuestionWords = 64;     // of a longer question the rarest
constexpr int64_t kCandidateBudget = 20'000;  // passages that SQLite may score for a question
constexpr int64_t kCacheKibibytes = 64 << 10;

struct QuestionWord {
  uint64_t hash = 0;
  std::string source;  // as the question has it: FTS5 finds the stem itself
  int64_t holders = 0;
};

// "a" OR "b": a word holds no quotes, as they separate words.
std::string MatchOf(std::span<const QuestionWord> words) {
  std::string match;
  for (const QuestionWord& word : words) {
    match += (match.empty() ? "\"" : " OR \"") + word.source + "\"";
  }
  return match;
}

Status CheckDocument(const StoredDocument& document) {
  if (document.id.empty() || document.id.size() > kMaxStoredId) {
    return Error{"A document's id must have 1 to " + std::to_string(kMaxStoredId) + " bytes: '" +
                 document.id.substr(0, 60) + "'"};
  }
  if (document.title.size() > kMaxStoredTitle) {
    return Error{"The title of document '" + document.id + "' is longer than " +
                 std::to_string(kMaxStoredTitle) + " bytes: shorten it"};
  }
  return {};
}

}  // namespace

struct PassageStore::Impl {
  SqliteDatabase database;
  TermReader reader;

  Result<std::vector<QuestionWord>> ReadWords(std::string_view question);
  Result<CorpusCounts> CountsFor(std::span<const QuestionWord> words);
  Result<std::vector<Passage>> Candidates(std::span<const QuestionWord> words);
};

PassageStore::PassageStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PassageStore::PassageStore(PassageStore&&) noexcept = default;
PassageStore& PassageStore::operator=(PassageStore&&) noexcept = default;
PassageStore::~PassageStore() = default;

Result<PassageStore> PassageStore::Create(const std::string& path) {
  std::error_code code;
  if (std::filesystem::exists(path, code)) return Error{path + " exists already"};
  ASSIGN_OR_RETURN(SqliteDatabase database,
                   SqliteDatabase::Open(path, SqliteDatabase::Access::kCreate, kStorePatience));
  RETURN_IF_ERROR(database.Execute("PRAGMA journal_mode = WAL"));
  RETURN_IF_ERROR(database.Execute(kStoreSchema));
  return Open(path, Access::kWrite);
}

Result<PassageStore> PassageStore::Open(const std::string& path, Access access,
                                        std::chrono::milliseconds patience) {
  std::error_code code;
  if (!std::filesystem::exists(path, code)) {
    return Error{path + " is not there: make it with `millrace index create`",
                 ErrorKind::kNotFound};
  }
  const bool write = access == Access::kWrite;
  auto opened = SqliteDatabase::Open(
      path, write ? SqliteDatabase::Access::kWrite : SqliteDatabase::Access::kRead, patience);
  if (!opened.ok() && opened.error().kind == ErrorKind::kInvalidArgument) {
    return Error{path + " is no store of passages"};
  }
  if (!opened.ok()) return opened.error();
  SqliteDatabase database = std::move(*opened);
  auto version = database.Prepare("SELECT version FROM totals");
  Result<bool> row = version.ok() ? version->Step() : Result<bool>(version.error());
  if (!row.ok() && row.error().kind == ErrorKind::kExhausted) return row.error();
  if (!row.ok() || !*row) return Error{path + " is no store of passages"};
  if (version->Int(0) != kStoreVersion) {
    return Error{path + " is a store of version " + version->Text(0) + ", but this program reads " +
                     std::to_string(kStoreVersion) + ": make it again with `millrace index create`",
                 ErrorKind::kUnsupported};
  }
  version->Reset();
  RETURN_IF_ERROR(database.Execute(
      ("PRAGMA synchronous = NORMAL; PRAGMA cache_size = -" + std::to_string(kCacheKibibytes))
          .c_str()));
  ASSIGN_OR_RETURN(TermReader reader, TermReader::Create());
  return PassageStore(std::unique_ptr<Impl>(new Impl{std::move(database), std::move(reader)}));
}

// Leaving the write-ahead log needs the file for itself, and takes away the files beside it.
Status PassageStore::Remove(const std::string& path, std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  ASSIGN_OR_RETURN(PassageStore store, Open(path, Access::kWrite, patience));
  while (true) {
    const Status alone = store.impl_->database.Execute("PRAGMA journal_mode = DELETE");
    if (alone.ok()) break;
    if (alone.error().kind != ErrorKind::kExhausted) return alone;
    if (std::chrono::steady_clock::now() >= end) return alone;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  std::error_code code;
  std::filesystem::remove(path, code);
  if (code) return Error{path + " cannot be deleted: " + code.message(), ErrorKind::kIo};
  return {};
}

Status PassageStore::Add(std::span<const StoredDocument> documents) {
  for (const StoredDocument& document : documents) RETURN_IF_ERROR(CheckDocument(document));
  ASSIGN_OR_RETURN(StoreWriter writer, StoreWriter::Begin(impl_->database, impl_->reader));
  for (const StoredDocument& document : documents) RETURN_IF_ERROR(writer.Insert(document));
  return writer.Commit();
}

Result<bool> PassageStore::Delete(std::string_view id) {
  ASSIGN_OR_RETURN(StoreWriter writer, StoreWriter::Begin(impl_->database, impl_->reader));
  ASSIGN_OR_RETURN(const bool there, writer.Remove(id));
  RETURN_IF_ERROR(writer.Commit());
  return there;
}

Result<std::vector<DocumentEntry>> PassageStore::List(std::string_view after, size_t most) {
  ASSIGN_OR_RETURN(
      SqliteStatement list,
      impl_->database.Prepare("SELECT name, title, bytes, (SELECT count(*) FROM passages WHERE "
                              "document = documents.id) FROM documents WHERE name > ? "
                              "ORDER BY name LIMIT ?"));
  list.Bind(1, after).Bind(2, static_cast<int64_t>(std::min<size_t>(most, 1'000'000)));
  std::vector<DocumentEntry> entries;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) return entries;
    entries.push_back({list.Text(0), list.Text(1), list.Int(2), list.Int(3)});
  }
}

Result<std::optional<DocumentEntry>> PassageStore::Find(std::string_view id) {
  ASSIGN_OR_RETURN(
      SqliteStatement find,
      impl_->database.Prepare("SELECT title, bytes, (SELECT count(*) FROM passages WHERE "
                              "document = documents.id) FROM documents WHERE name = ?"));
  ASSIGN_OR_RETURN(const bool row, find.Bind(1, id).Step());
  std::optional<DocumentEntry> entry;
  if (row) entry = {std::string(id), find.Text(0), find.Int(1), find.Int(2)};
  return entry;
}

Result<std::vector<Passage>> PassageStore::PassagesOf(std::string_view id) {
  ASSIGN_OR_RETURN(SqliteStatement read,
                   impl_->database.Prepare("SELECT d.title, p.text, p.begin FROM documents AS d "
                                           "JOIN passages AS p ON p.document = d.id "
                                           "WHERE d.name = ? ORDER BY p.begin"));
  read.Bind(1, id);
  std::vector<Passage> passages;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, read.Step());
    if (!row) return passages;
    passages.push_back({.id = std::string(id),
                        .title = read.Text(0),
                        .text = read.Text(1),
                        .begin = static_cast<size_t>(read.Int(2))});
  }
}

Result<StoreCounts> PassageStore::Counts() {
  ASSIGN_OR_RETURN(SqliteStatement counts,
                   impl_->database.Prepare("SELECT (SELECT count(*) FROM documents), passages "
                                           "FROM totals"));
  ASSIGN_OR_RETURN(const bool row, counts.Step());
  if (!row) return Error{"The store has lost its totals", ErrorKind::kIo};
  return StoreCounts{counts.Int(0), counts.Int(1)};
}

Status PassageStore::Verify() {
  ASSIGN_OR_RETURN(SqliteStatement check, impl_->database.Prepare("PRAGMA quick_check"));
  ASSIGN_OR_RETURN(const bool row, check.Step());
  if (!row || check.Text(0) != "ok") {
    return Error{"The store is damaged: " + check.Text(0), ErrorKind::kIo};
  }
  check.Reset();
  RETURN_IF_ERROR(
      impl_->database.Execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)"));
  ASSIGN_OR_RETURN(
      SqliteStatement counts,
      impl_->database.Prepare("SELECT (SELECT count(*) FROM passages) = (SELECT passages FROM "
                              "totals) AND NOT EXISTS (SELECT 1 FROM terms WHERE passages < 0)"));
  ASSIGN_OR_RETURN(const bool counted, counts.Step());
  if (!counted || counts.Int(0) != 1) {
    return Error{"The store's counts are not those of its passages", ErrorKind::kIo};
  }
  return {};
}

// The question's words that the store has, the rarest first.
Result<std::vector<QuestionWord>> PassageStore::Impl::ReadWords(std::string_view question) {
  std::unordered_map<std::string, QuestionWord> words;
  reader.ReadWithSource(question, [&](std::string_view term, std::string_view source) {
    words.try_emplace(std::string(term), QuestionWord{HashOfTerm(term), std::string(source)});
  });
  ASSIGN_OR_RETURN(SqliteStatement holders,
                   database.Prepare("SELECT passages FROM terms WHERE term = ?"));
  std::vector<QuestionWord> found;
  for (auto& [term, word] : words) {
    ASSIGN_OR_RETURN(const bool row, holders.Bind(1, term).Step());
    word.holders = row ? holders.Int(0) : 0;
    holders.Reset();
    if (word.holders > 0) found.push_back(std::move(word));
  }
  std::sort(found.begin(), found.end(), [](const QuestionWord& a, const QuestionWord& b) {
    return a.holders != b.holders ? a.holders < b.holders : a.hash < b.hash;
  });
  if (found.size() > kMostQuestionWords) found.resize(kMostQuestionWords);
  return found;
}

// The store's counts, for words in the order of their hashes.
Result<CorpusCounts> PassageStore::Impl::CountsFor(std::span<const QuestionWord> words) {
  ASSIGN_OR_RETURN(SqliteStatement totals, database.Prepare("SELECT passages, words FROM totals"));
  ASSIGN_OR_RETURN(const bool row, totals.Step());
  if (!row) return Error{"The store has lost its totals", ErrorKind::kIo};
  CorpusCounts counts;
  counts.passages = static_cast<double>(totals.Int(0));
  counts.mean_length = static_cast<double>(totals.Int(1)) / std::max(counts.passages, 1.0);
  for (const QuestionWord& word : words) {
    counts.holders.push_back(static_cast<double>(word.holders));
  }
  return counts;
}

// The best of those passages that have one of the rare words.
Result<std::vector<Passage>> PassageStore::Impl::Candidates(std::span<const QuestionWord> words) {
  size_t rare = 1;
  int64_t to_score = words[0].holders;
  while (rare < words.size() && to_score + words[rare].holders <= kCandidateBudget) {
    to_score += words[rare++].holders;
  }
  ASSIGN_OR_RETURN(SqliteStatement find,
                   database.Prepare("SELECT d.name, d.title, p.text, p.begin FROM (SELECT rowid "
                                    "FROM words WHERE words MATCH ?1 ORDER BY rank LIMIT ?2) AS w "
                                    "JOIN passages AS p ON p.id = w.rowid "
                                    "JOIN documents AS d ON d.id = p.document"));
  const std::string match = MatchOf(words.first(rare));
  find.Bind(1, match).Bind(2, static_cast<int64_t>(kMostFound));
  std::vector<Passage> passages;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, find.Step());
    if (!row) return passages;
    passages.push_back({.id = find.Text(0),
                        .title = find.Text(1),
                        .text = find.Text(2),
                        .begin = static_cast<size_t>(find.Int(3))});
  }
}

Result<std::vector<FoundPassage>> PassageStore::Search(std::string_view question, size_t most) {
  std::vector<FoundPassage> found;
  ASSIGN_OR_RETURN(std::vector<QuestionWord> words, impl_->ReadWords(question));
  if (words.empty() || most == 0) return found;
  ASSIGN_OR_RETURN(std::vector<Passage> passages, impl_->Candidates(words));
  std::sort(words.begin(), words.end(),
            [](const QuestionWord& a, const QuestionWord& b) { return a.hash < b.hash; });
  ASSIGN_OR_RETURN(const CorpusCounts counts, impl_->CountsFor(words));
  std::vector<uint64_t> hashes;
  for (const QuestionWord& word : words) hashes.push_back(word.hash);
  const auto ranking = RankByBm25(hashes, ReadTerms(impl_->reader, passages), &counts);
  for (const RankedPassage& ranked : ranking) {
    if (found.size() == most) break;
    found.push_back({std::move(passages[ranked.passage]), ranked.score});
  }
  return found;
}

}  // namespace millrace
