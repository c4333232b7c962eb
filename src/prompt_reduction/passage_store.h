// PassageStore: documents cut into passages, in one SQLite file: their texts, full-text search
// (FTS5, with the words of word_tokenizer.h), where each passage stands in its document, and, in a
// store that was made with an embedding model, a vector of each.
//
// Search takes the question's rare words to find candidates and all its words to score them: BM25
// as for the passages of a request (ranking.h), with the store's own counts. A word that most
// passages have says little and would make SQLite read all of them. With vectors it looks through
// all of them, too, so that it finds what no word does.
//
// Invariant: every change is one transaction, in a write-ahead log: kill -9 leaves the store as it
// was before or after it. Any number of processes may read while one writes; a second writer waits,
// for kStorePatience unless told otherwise. Questions are words only: no SQL and no search syntax
// of theirs is understood. A store's vectors are all of one model: another is refused. One object
// is for one thread at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "prompt_reduction/passage.h"
#include "prompt_reduction/vector_model.h"

namespace millrace {

inline constexpr size_t kMaxStoredId = 512;  // bytes
inline constexpr size_t kMaxStoredTitle = 4096;
inline constexpr std::chrono::milliseconds kStorePatience{10'000};

struct StoredDocument {
  std::string id;  // not empty, at most kMaxStoredId bytes
  std::string title;
  std::string text;
};
struct DocumentEntry {
  std::string id;
  std::string title;
  int64_t bytes = 0;  // of its text
  int64_t passages = 0;
};
struct FoundPassage {
  Passage passage;
  double score = 0;              // BM25; 0: it has no word of the question
  std::optional<double> cosine;  // to the question; absent where vectors were not searched
};
struct StoreCounts {
  int64_t documents = 0;
  int64_t passages = 0;
};

class PassageStore {
 public:
  // Makes a new store, with vectors of `model` where there is one, which must outlive it; an error
  // where the file exists.
  static Result<PassageStore> Create(const std::string& path, const VectorModel* model = nullptr);
  // kNotFound where there is no file; an error where it is no store, or one of another version.
  // `patience`: how long each call waits for another writer before it fails with kExhausted, having
  // changed nothing.
  enum class Access { kRead, kWrite };
  static Result<PassageStore> Open(const std::string& path, Access access,
                                   std::chrono::milliseconds patience = kStorePatience);
  // Deletes the file of a store that nobody else has open; kExhausted, and the store as it was,
  // where somebody still has after `patience`.
  static Status Remove(const std::string& path,
                       std::chrono::milliseconds patience = kStorePatience);
  // The model whose vectors the store holds; empty: it holds none.
  const std::string& vector_model() const;
  // From then on vectors are made and searched, where the store holds some; else nothing changes.
  // `model` must outlive the store. kUnsupported where the store holds another model's: the message
  // goes on from the store's name ("holds vectors of ...").
  Status UseModel(const VectorModel& model);
  PassageStore(PassageStore&&) noexcept;
  PassageStore& operator=(PassageStore&&) noexcept;
  ~PassageStore();

  // All or none. A document whose id is there already replaces that one; of those with one id in
  // the call, the last stays. Vectors are made before others are kept from writing; kUnsupported
  // where the store holds some and UseModel was not called (the message goes on from its name).
  Status Add(std::span<const StoredDocument> documents);
  // Whether it was there.
  Result<bool> Delete(std::string_view id);
  // By id, behind `after` (empty: from the first), at most `most`.
  Result<std::vector<DocumentEntry>> List(std::string_view after, size_t most);
  // One document; nothing where it is not there. Its passages in order; none where it is not there.
  Result<std::optional<DocumentEntry>> Find(std::string_view id);
  Result<std::vector<Passage>> PassagesOf(std::string_view id);
  // The best passages for the question by BM25, best first, at most `most` of at most 200; none
  // where no word of it is in the store. Where vectors are searched, behind them those of the
  // `most` likest that were not found by words, the likest first.
  Result<std::vector<FoundPassage>> Search(std::string_view question, size_t most);
  Result<StoreCounts> Counts();
  // Reads everything: whether the file is sound, its counts and words are those of its texts, and
  // each passage has a vector where the store holds vectors.
  // Needs Access::kWrite.
  Status Verify();

 private:
  struct Impl;
  explicit PassageStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
