#include "prompt_reduction/search_terms.h"

#include <sqlite3.h>

#include <algorithm>
#include <string>
#include <utility>

#include "prompt_reduction/word_tokenizer.h"

namespace millrace {
namespace {

constexpr size_t kMostBytes = size_t{1} << 30;  // lengths are int in SQLite

int TakeToken(void* context, int, const char* term, int bytes, int, int) {
  const auto& take = *static_cast<const std::function<void(std::string_view)>*>(context);
  take(std::string_view(term, static_cast<size_t>(bytes)));
  return SQLITE_OK;
}

struct SourceReading {
  std::string_view text;
  const TermReader::TakeWithSource& take;
};

int TakeTokenWithSource(void* context, int, const char* term, int bytes, int begin, int end) {
  const auto& reading = *static_cast<const SourceReading*>(context);
  const auto from = static_cast<size_t>(begin);
  reading.take(std::string_view(term, static_cast<size_t>(bytes)),
               reading.text.substr(from, static_cast<size_t>(end) - from));
  return SQLITE_OK;
}

}  // namespace

struct TermReader::Impl {
  ~Impl() {
    if (tokenizer != nullptr) functions.xDelete(tokenizer);
    sqlite3_close(database);
  }
  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status Open() {
    constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(":memory:", &database, kFlags, nullptr) != SQLITE_OK) {
      return Error{"SQLite cannot open a database in memory", ErrorKind::kInternal};
    }
    RETURN_IF_ERROR(RegisterWordTokenizer(database));
    fts5_api* api = FullTextInterface(database);
    void* context = nullptr;
    if (api->xFindTokenizer(api, kWordTokenizer, &context, &functions) != SQLITE_OK ||
        functions.xCreate(context, nullptr, 0, &tokenizer) != SQLITE_OK) {
      return Error{"SQLite's full-text search has no porter unicode61", ErrorKind::kUnsupported};
    }
    return {};
  }

  sqlite3* database = nullptr;
  fts5_tokenizer functions{};
  Fts5Tokenizer* tokenizer = nullptr;
};

Result<TermReader> TermReader::Create() {
  auto impl = std::make_unique<Impl>();
  RETURN_IF_ERROR(impl->Open());
  return TermReader(std::move(impl));
}

TermReader::TermReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TermReader::TermReader(TermReader&&) noexcept = default;
TermReader& TermReader::operator=(TermReader&&) noexcept = default;
TermReader::~TermReader() = default;

void TermReader::Read(std::string_view text, const std::function<void(std::string_view)>& take) {
  const int bytes = static_cast<int>(std::min(text.size(), kMostBytes));
  if (bytes == 0) return;  // FTS5 wants a pointer
  void* context = const_cast<void*>(static_cast<const void*>(&take));
  impl_->functions.xTokenize(impl_->tokenizer, context, FTS5_TOKENIZE_DOCUMENT, text.data(), bytes,
                             TakeToken);
}

void TermReader::ReadWithSource(std::string_view text, const TakeWithSource& take) {
  text = text.substr(0, kMostBytes);
  if (text.empty()) return;
  SourceReading reading{text, take};
  impl_->functions.xTokenize(impl_->tokenizer, &reading, FTS5_TOKENIZE_DOCUMENT, text.data(),
                             static_cast<int>(text.size()), TakeTokenWithSource);
}

}  // namespace millrace
