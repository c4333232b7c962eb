#include "prompt_reduction/store_search.h"

#include <unicode/utf8.h>

#include <algorithm>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "prompt_reduction/ranking.h"
#include "prompt_reduction/store_vectors.h"

namespace millrace {
namespace {

constexpr size_t kMostQuestionWords = 64;     // of a longer question the rarest
constexpr int64_t kCandidateBudget = 20'000;  // passages that SQLite may score for a question

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

// Bytes that are no UTF-8 become replacement characters, as they would on the way into a prompt:
// there they take more tokens, which must be counted.
std::string ReadableText(const std::string& text) {
  std::string readable;
  for (size_t at = 0; at < text.size();) {
    size_t next = at;
    UChar32 letter = 0;
    U8_NEXT(text.data(), next, text.size(), letter);
    readable += letter >= 0 ? std::string_view(text).substr(at, next - at) : "\xef\xbf\xbd";
    at = next;
  }
  return readable;
}

// Of a row (p.id, d.name, d.title, p.text, p.begin).
Passage PassageOfRow(const SqliteStatement& row) {
  return {.id = row.Text(1),
          .title = ReadableText(row.Text(2)),
          .text = ReadableText(row.Text(3)),
          .begin = static_cast<size_t>(row.Int(4))};
}

// The question's words that the store has, the rarest first.
Result<std::vector<QuestionWord>> ReadWords(SqliteDatabase& database, TermReader& reader,
                                            std::string_view question) {
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
Result<CorpusCounts> CountsFor(SqliteDatabase& database, std::span<const QuestionWord> words) {
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
Result<std::vector<FoundRow>> RareCandidates(SqliteDatabase& database,
                                             std::span<const QuestionWord> words) {
  size_t rare = 1;
  int64_t to_score = words[0].holders;
  while (rare < words.size() && to_score + words[rare].holders <= kCandidateBudget) {
    to_score += words[rare++].holders;
  }
  ASSIGN_OR_RETURN(SqliteStatement find,
                   database.Prepare("SELECT p.id, d.name, d.title, p.text, p.begin FROM (SELECT "
                                    "rowid FROM words WHERE words MATCH ?1 ORDER BY rank LIMIT ?2) "
                                    "AS w JOIN passages AS p ON p.id = w.rowid "
                                    "JOIN documents AS d ON d.id = p.document"));
  const std::string match = MatchOf(words.first(rare));
  find.Bind(1, match).Bind(2, static_cast<int64_t>(kMostFound));
  std::vector<FoundRow> rows;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, find.Step());
    if (!row) return rows;
    rows.push_back({find.Int(0), {PassageOfRow(find), 0, {}}});
  }
}

}  // namespace

Result<std::vector<FoundRow>> SearchWords(SqliteDatabase& database, TermReader& reader,
                                          std::string_view question, size_t most) {
  std::vector<FoundRow> found;
  ASSIGN_OR_RETURN(std::vector<QuestionWord> words, ReadWords(database, reader, question));
  if (words.empty()) return found;
  ASSIGN_OR_RETURN(std::vector<FoundRow> rows, RareCandidates(database, words));
  std::sort(words.begin(), words.end(),
            [](const QuestionWord& a, const QuestionWord& b) { return a.hash < b.hash; });
  ASSIGN_OR_RETURN(const CorpusCounts counts, CountsFor(database, words));
  std::vector<uint64_t> hashes;
  for (const QuestionWord& word : words) hashes.push_back(word.hash);
  std::vector<Passage> passages;
  for (FoundRow& row : rows) passages.push_back(std::move(row.found.passage));
  for (const RankedPassage& r : RankByBm25(hashes, ReadTerms(reader, passages), &counts)) {
    if (found.size() == most) break;
    found.push_back({rows[r.passage].id, {std::move(passages[r.passage]), r.score, {}}});
  }
  return found;
}

Status SearchVectors(SqliteDatabase& database, std::span<const float> question, size_t most,
                     std::vector<FoundRow>& found) {
  ASSIGN_OR_RETURN(const auto nearest, NearestVectors(database, question, most));
  std::set<int64_t> by_words;
  for (FoundRow& row : found) {
    by_words.insert(row.id);
    ASSIGN_OR_RETURN(row.found.cosine, CosineOf(database, question, row.id));
  }
  ASSIGN_OR_RETURN(SqliteStatement read,
                   database.Prepare("SELECT p.id, d.name, d.title, p.text, p.begin FROM passages "
                                    "AS p JOIN documents AS d ON d.id = p.document "
                                    "WHERE p.id = ?"));
  for (const NearVector& near : nearest) {
    if (by_words.contains(near.passage)) continue;
    ASSIGN_OR_RETURN(const bool row, read.Bind(1, near.passage).Step());
    if (!row) return Error{"The store is damaged: a vector has no passage", ErrorKind::kIo};
    found.push_back({near.passage, {PassageOfRow(read), 0, near.cosine}});
    read.Reset();
  }
  return {};
}

}  // namespace millrace
