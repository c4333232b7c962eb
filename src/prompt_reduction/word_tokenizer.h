// The tokenizer `millrace` of SQLite's full-text search: `porter unicode61` (case and marks folded,
// English endings removed), but a run of letters of a script that is written without spaces between
// words (Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese) is cut into its pairs of neighbours,
// each a word: so that a question's word is found inside a sentence. A lone letter is a word.
// Internal to prompt_reduction/.
#pragma once

#include <sqlite3.h>

#include <cstdint>

#include "base/result.h"

namespace millrace {

inline constexpr char kWordTokenizer[] = "millrace";

// So that tables of this connection can name it. kUnsupported where SQLite has no FTS5.
Status RegisterWordTokenizer(sqlite3* database);

// FTS5's own interface to a connection; null where it has none.
fts5_api* FullTextInterface(sqlite3* database);

// Whether words of the code point's script are written without spaces between them.
bool IsUnspaced(uint32_t code_point);

}  // namespace millrace
