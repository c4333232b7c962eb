#include "prompt_reduction/sqlite.h"

#include "prompt_reduction/word_tokenizer.h"

namespace millrace {
namespace {

ErrorKind KindOf(int code) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorKind::kExhausted;
    case SQLITE_CANTOPEN:
      return ErrorKind::kNotFound;
    case SQLITE_NOTADB:
      return ErrorKind::kInvalidArgument;
    case SQLITE_TOOBIG:
      return ErrorKind::kTooLarge;
    default:
      return ErrorKind::kIo;
  }
}

Error SqliteError(sqlite3* database, int code) {
  const char* name = sqlite3_db_filename(database, "main");
  const std::string where = name != nullptr && *name != '\0' ? name : "the database";
  return Error{where + ": " + sqlite3_errmsg(database), KindOf(code)};
}

}  // namespace

SqliteStatement& SqliteStatement::Bind(int place, std::string_view text) {
  // A null pointer would be NULL.
  sqlite3_bind_text64(statement_.get(), place, text.empty() ? "" : text.data(), text.size(),
                      SQLITE_STATIC, SQLITE_UTF8);
  return *this;
}

SqliteStatement& SqliteStatement::Bind(int place, int64_t number) {
  sqlite3_bind_int64(statement_.get(), place, number);
  return *this;
}

SqliteStatement& SqliteStatement::Bind(int place, std::span<const std::byte> blob) {
  // A null pointer would be NULL.
  const void* bytes = blob.empty() ? static_cast<const void*>("") : blob.data();
  sqlite3_bind_blob64(statement_.get(), place, bytes, blob.size(), SQLITE_STATIC);
  return *this;
}

Result<bool> SqliteStatement::Step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  const Error error = SqliteError(sqlite3_db_handle(statement_.get()), code);
  Reset();
  return error;
}

Status SqliteStatement::Run() {
  while (true) {
    const Result<bool> row = Step();
    if (!row.ok()) return row.error();
    if (!*row) break;
  }
  Reset();
  return {};
}

void SqliteStatement::Reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
}

std::string SqliteStatement::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  const auto bytes = static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column));
  return text == nullptr ? std::string() : std::string(text, bytes);
}

std::span<const std::byte> SqliteStatement::Blob(int column) const {
  const void* bytes = sqlite3_column_blob(statement_.get(), column);
  if (bytes == nullptr) return {};
  return {static_cast<const std::byte*>(bytes),
          static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

Result<SqliteDatabase> SqliteDatabase::Open(const std::string& path, Access access,
                                            std::chrono::milliseconds patience) {
  sqlite3* opened = nullptr;
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  flags |= access == Access::kRead ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  if (access == Access::kCreate) flags |= SQLITE_OPEN_CREATE;
  const int code = sqlite3_open_v2(path.c_str(), &opened, flags, nullptr);
  SqliteDatabase database(opened);
  if (code != SQLITE_OK) {
    const char* said = opened == nullptr ? "out of memory" : sqlite3_errmsg(opened);
    return Error{path + ": " + said, KindOf(code)};
  }
  sqlite3_busy_timeout(opened, static_cast<int>(patience.count()));
  if (const Status words = RegisterWordTokenizer(opened); !words.ok()) {
    // That is the first time that the file is read.
    const int said = sqlite3_errcode(opened) & 0xff;
    return said == SQLITE_ERROR || said == SQLITE_OK ? words.error() : SqliteError(opened, said);
  }
  return database;
}

Status SqliteDatabase::Execute(const char* sql) {
  const int code = sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return SqliteError(database_.get(), code);
  return {};
}

Result<SqliteStatement> SqliteDatabase::Prepare(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  const int code =
      sqlite3_prepare_v3(database_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return SqliteError(database_.get(), code);
  return SqliteStatement(statement);
}

Result<SqliteTransaction> SqliteTransaction::Begin(SqliteDatabase& database) {
  RETURN_IF_ERROR(database.Execute("BEGIN IMMEDIATE"));
  return SqliteTransaction(database);
}

Result<SqliteTransaction> SqliteTransaction::BeginReading(SqliteDatabase& database) {
  RETURN_IF_ERROR(database.Execute("BEGIN"));
  return SqliteTransaction(database);
}

SqliteTransaction::~SqliteTransaction() {
  if (database_ == nullptr) return;
  if (const Status rolled = database_->Execute("ROLLBACK"); !rolled.ok()) {
    // The failure that ended the transaction has rolled it back already.
  }
}

Status SqliteTransaction::Commit() {
  RETURN_IF_ERROR(database_->Execute("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace millrace
