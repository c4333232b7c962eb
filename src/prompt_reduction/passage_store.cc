#include "prompt_reduction/passage_store.h"

#include <algorithm>
#include <filesystem>
#include <thread>
#include <utility>

#include "prompt_reduction/search_terms.h"
#include "prompt_reduction/sentence_chunks.h"
#include "prompt_reduction/sqlite.h"
#include "prompt_reduction/store_schema.h"
#include "prompt_reduction/store_search.h"
#include "prompt_reduction/store_vectors.h"
#include "prompt_reduction/store_writer.h"

namespace millrace {
namespace {

constexpr int64_t kCacheKibibytes = 64 << 10;
constexpr size_t kTextsAtOnce = 64;  // that a model is asked for

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
  std::optional<StoredModel> stored = {};
  const VectorModel* model = nullptr;  // only where it is `stored`

  size_t packed_width() const { return stored ? PackedWidth(stored->width) : 0; }
  Result<std::vector<uint16_t>> MakeVectors(std::span<const StoredDocument> documents,
                                            std::span<const std::vector<TextSpan>> passages);
};

PassageStore::PassageStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PassageStore::PassageStore(PassageStore&&) noexcept = default;
PassageStore& PassageStore::operator=(PassageStore&&) noexcept = default;
PassageStore::~PassageStore() = default;

const std::string& PassageStore::vector_model() const {
  static const std::string none;
  return impl_->stored ? impl_->stored->name : none;
}

Status PassageStore::UseModel(const VectorModel& model) {
  if (!impl_->stored) return {};
  RETURN_IF_ERROR(CheckSameModel(*impl_->stored, model));
  impl_->model = &model;
  return {};
}

Result<PassageStore> PassageStore::Create(const std::string& path, const VectorModel* model) {
  std::error_code code;
  if (std::filesystem::exists(path, code)) return Error{path + " exists already"};
  ASSIGN_OR_RETURN(SqliteDatabase database,
                   SqliteDatabase::Open(path, SqliteDatabase::Access::kCreate, kStorePatience));
  // Of a vector's size there should be several in a page.
  if (model != nullptr) RETURN_IF_ERROR(database.Execute("PRAGMA page_size = 16384"));
  RETURN_IF_ERROR(database.Execute("PRAGMA journal_mode = WAL"));
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database));
  RETURN_IF_ERROR(database.Execute(kStoreSchema));
  if (model != nullptr) {
    RETURN_IF_ERROR(MakeVectorTables(database, *model));
    const std::string version = std::to_string(kVectorStoreVersion);
    RETURN_IF_ERROR(database.Execute(("UPDATE totals SET version = " + version).c_str()));
  }
  RETURN_IF_ERROR(transaction.Commit());
  ASSIGN_OR_RETURN(PassageStore store, Open(path, Access::kWrite));
  if (model != nullptr) RETURN_IF_ERROR(store.UseModel(*model));
  return store;
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
  const bool has_vectors = version->Int(0) == kVectorStoreVersion;
  if (version->Int(0) != kStoreVersion && !has_vectors) {
    return Error{path + " is a store of version " + version->Text(0) + ", but this program reads " +
                     std::to_string(kStoreVersion) + " and " + std::to_string(kVectorStoreVersion) +
                     ": make it again with `millrace index create`",
                 ErrorKind::kUnsupported};
  }
  version->Reset();
  RETURN_IF_ERROR(database.Execute(
      ("PRAGMA synchronous = NORMAL; PRAGMA cache_size = -" + std::to_string(kCacheKibibytes))
          .c_str()));
  ASSIGN_OR_RETURN(TermReader reader, TermReader::Create());
  std::unique_ptr<Impl> impl(new Impl{std::move(database), std::move(reader)});
  if (has_vectors) {
    ASSIGN_OR_RETURN(impl->stored, ReadStoredModel(impl->database));
  }
  return PassageStore(std::move(impl));
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
  std::vector<std::vector<TextSpan>> passages;  // of each
  for (const StoredDocument& document : documents) {
    RETURN_IF_ERROR(CheckDocument(document));
    passages.push_back(CutIntoPassages(document.text));
  }
  ASSIGN_OR_RETURN(const auto made, impl_->MakeVectors(documents, passages));
  std::span<const uint16_t> vectors = made;
  ASSIGN_OR_RETURN(StoreWriter writer,
                   StoreWriter::Begin(impl_->database, impl_->reader, impl_->packed_width()));
  for (size_t i = 0; i < documents.size(); ++i) {
    RETURN_IF_ERROR(writer.Insert(documents[i], passages[i], vectors));
  }
  return writer.Commit();
}

// Of all passages, one after the other; none where the store holds none.
Result<std::vector<uint16_t>> PassageStore::Impl::MakeVectors(
    std::span<const StoredDocument> documents, std::span<const std::vector<TextSpan>> passages) {
  std::vector<uint16_t> packed;
  if (!stored) return packed;
  if (model == nullptr) {
    return Error{"holds vectors of the embedding model '" + stored->name +
                     "', without which nothing can be added: name it with --embedding-model",
                 ErrorKind::kUnsupported};
  }
  std::vector<std::string> texts;
  const auto embed = [&]() -> Status {
    if (texts.empty()) return {};
    ASSIGN_OR_RETURN(const auto vectors, EmbedTexts(*model, texts));
    const auto width = static_cast<size_t>(model->width);
    for (size_t i = 0; i < texts.size(); ++i)
      PackVector(std::span(vectors).subspan(i * width, width), packed);
    texts.clear();
    return {};
  };
  for (size_t i = 0; i < documents.size(); ++i) {
    const std::string_view text = documents[i].text;
    for (const TextSpan& span : passages[i]) {
      const std::string_view passage = text.substr(span.begin, span.end - span.begin);
      texts.push_back(TitledText(documents[i].title, passage));
      if (texts.size() == kTextsAtOnce) RETURN_IF_ERROR(embed());
    }
  }
  RETURN_IF_ERROR(embed());
  return packed;
}

Result<bool> PassageStore::Delete(std::string_view id) {
  ASSIGN_OR_RETURN(StoreWriter writer,
                   StoreWriter::Begin(impl_->database, impl_->reader, impl_->packed_width()));
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
  if (impl_->stored) return VerifyVectors(impl_->database, *impl_->stored);
  return {};
}

Result<std::vector<FoundPassage>> PassageStore::Search(std::string_view question, size_t most) {
  std::vector<FoundPassage> found;
  most = std::min(most, kMostFound);
  if (most == 0) return found;
  std::vector<float> vector;
  if (impl_->model !=
      nullptr) {  // first: it may wait, and who reads holds up who deletes the store
    const std::string text(question);
    ASSIGN_OR_RETURN(vector, EmbedTexts(*impl_->model, {&text, 1}));
  }
  // Words and vectors as they are at one time.
  ASSIGN_OR_RETURN(const auto reading, SqliteTransaction::BeginReading(impl_->database));
  ASSIGN_OR_RETURN(auto rows, SearchWords(impl_->database, impl_->reader, question, most));
  if (!vector.empty()) RETURN_IF_ERROR(SearchVectors(impl_->database, vector, most, rows));
  for (FoundRow& row : rows) found.push_back(std::move(row.found));
  return found;
}

}  // namespace millrace
