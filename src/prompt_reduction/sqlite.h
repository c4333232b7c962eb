// SQLite's C interface behind two classes. Internal to prompt_reduction/.
#pragma once

#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace {

struct SqliteCloser {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

// A prepared statement. Texts and blobs that are bound must live until Reset or the next Step's
// end.
class SqliteStatement {
 public:
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement) {}

  SqliteStatement& Bind(int place, std::string_view text);  // places count from 1
  SqliteStatement& Bind(int place, int64_t number);
  SqliteStatement& Bind(int place, std::span<const std::byte> blob);
  // Whether there is a row.
  Result<bool> Step();
  // Runs to the end, whatever rows there are, and resets.
  Status Run();
  void Reset();
  int64_t Int(int column) const { return sqlite3_column_int64(statement_.get(), column); }
  std::string Text(int column) const;
  std::span<const std::byte> Blob(int column) const;  // until the next Step or Reset

 private:
  std::unique_ptr<sqlite3_stmt, SqliteCloser> statement_;
};

// A database file. Not for two threads at once; several processes may have one file open.
class SqliteDatabase {
 public:
  enum class Access { kRead, kWrite, kCreate };

  // Errors name the path and what SQLite said. `patience`: how long a statement waits for another
  // connection's lock before it fails with kExhausted.
  static Result<SqliteDatabase> Open(const std::string& path, Access access,
                                     std::chrono::milliseconds patience);

  Status Execute(const char* sql);  // several statements, without results
  Result<SqliteStatement> Prepare(const char* sql);
  int64_t last_row() const { return sqlite3_last_insert_rowid(database_.get()); }
  int64_t changes() const { return sqlite3_changes64(database_.get()); }

 private:
  explicit SqliteDatabase(sqlite3* database) : database_(database) {}

  std::unique_ptr<sqlite3, SqliteCloser> database_;
};

// Rolls back what was not committed when it ends.
class SqliteTransaction {
 public:
  static Result<SqliteTransaction> Begin(SqliteDatabase& database);
  // Only to read: all statements see the database as it is at the first.
  static Result<SqliteTransaction> BeginReading(SqliteDatabase& database);
  SqliteTransaction(SqliteTransaction&& other) noexcept : database_(other.database_) {
    other.database_ = nullptr;
  }
  SqliteTransaction& operator=(SqliteTransaction&&) = delete;
  ~SqliteTransaction();
  Status Commit();

 private:
  explicit SqliteTransaction(SqliteDatabase& database) : database_(&database) {}

  SqliteDatabase* database_;
};

}  // namespace millrace
