// The two searches of a store: by words and by vectors. Internal to prompt_reduction/.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "prompt_reduction/passage_store.h"
#include "prompt_reduction/search_terms.h"
#include "prompt_reduction/sqlite.h"

namespace millrace {

inline constexpr size_t kMostFound = 200;

// A passage that a search has found, with its row's id.
struct FoundRow {
  int64_t id = 0;
  FoundPassage found;
};

// By BM25 with the store's counts, best first, at most `most` of kMostFound.
Result<std::vector<FoundRow>> SearchWords(SqliteDatabase& database, TermReader& reader,
                                          std::string_view question, size_t most);

// Gives those that were found their cosines, and puts behind them those of the `most` likest that
// are not among them. `question`: its vector.
Status SearchVectors(SqliteDatabase& database, std::span<const float> question, size_t most,
                     std::vector<FoundRow>& found);

}  // namespace millrace
