// The tables of a store of passages. Internal to prompt_reduction/.
#pragma once

#include <cstdint>

namespace millrace {

inline constexpr int64_t kStoreVersion = 2;
// With the tables of store_vectors.h, which a program that does not know them must not forget.
inline constexpr int64_t kVectorStoreVersion = 3;

// `words` keeps no texts of its own: it reads them through the view. `terms` and `totals` are what
// BM25 needs and FTS5 would have to count: how many passages have a word, and all passages' words.
inline constexpr char kStoreSchema[] = R"(
CREATE TABLE totals (version INTEGER, passages INTEGER, words INTEGER);
INSERT INTO totals VALUES (2, 0, 0);
CREATE TABLE documents (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, title TEXT NOT NULL,
                        bytes INTEGER NOT NULL);
CREATE TABLE passages (id INTEGER PRIMARY KEY, document INTEGER NOT NULL, begin INTEGER NOT NULL,
                       text TEXT NOT NULL);
CREATE INDEX passages_of_document ON passages (document);
CREATE VIEW texts AS SELECT p.id AS id, d.title AS title, p.text AS text
  FROM passages AS p JOIN documents AS d ON d.id = p.document;
CREATE TABLE terms (term TEXT PRIMARY KEY, passages INTEGER NOT NULL) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (title, text, content = 'texts', content_rowid = 'id',
                                       tokenize = 'millrace');
INSERT INTO words (words, rank) VALUES ('rank', 'bm25(2.0, 1.0)');
)";

}  // namespace millrace
