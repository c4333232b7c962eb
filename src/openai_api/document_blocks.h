// Blocks of /v1/messages that hold texts to answer from: `document` and `search_result`
// (docs.anthropic.com/en/docs/build-with-claude/citations, .../search-results). They become the
// chat's `documents`, and what the answer cites of them is told in Anthropic's forms. Internal to
// openai_api/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "openai_api/citations.h"
#include "openai_api/json_fields.h"
#include "openai_api/reduced_chat.h"

namespace millrace::openai_internal {

struct TextBlocks {
  std::string text;            // of all blocks, each on lines of its own
  std::vector<size_t> begins;  // where each begins in it, in bytes; not empty, and the first is 0
};

// One that was given, and how it is cited.
struct GivenDocument {
  enum class Kind { kText, kBlocks, kSearchResult };
  Kind kind = Kind::kText;
  int64_t index = 0;    // among the documents, or among the search results
  std::string title;    // empty: none
  std::string context;  // what the model is told beside the title, and no citation repeats
  std::string source;   // of a search result, such as its URL
  TextBlocks content;
  bool cited = false;  // "citations": {"enabled": true}
};

bool IsDocumentBlock(const Json& block);

// `fields` fails, with the block's place, for what is no text: PDFs, URLs (none is fetched), files
// (none are stored).
GivenDocument ReadDocumentBlock(Fields& fields, const std::string& where, const Json& block);

// The title, with the context behind it.
std::string HeadOf(const GivenDocument& document);

// What a chat's `documents` say of it.
Json ChatDocument(const GivenDocument& document);

// Of passages, titles and sources that an answer's citations repeat; those that would be more are
// left out, so that an answer of brackets is not thousands of times as long.
inline constexpr size_t kMostCitedBytes = size_t{4} << 20;

// An answer's citations, for as long as the answer is written.
class CitedDocuments {
 public:
  CitedDocuments() = default;
  // In the order of the chat's `documents`.
  explicit CitedDocuments(std::vector<GivenDocument> documents);

  struct Piece {
    std::string_view text;
    Json citations = Json::array();  // that stand at its end
  };
  // The next text of the answer, cut behind each citation of a document that wants them.
  std::vector<Piece> Cut(std::string_view text, std::span<const Citation> citations,
                         const ReductionReport* reduction);

 private:
  std::optional<Json> CitationOf(const JudgedPassage& passage);

  std::vector<GivenDocument> documents_;
  int64_t characters_ = 0;  // of the answer so far
  size_t cited_bytes_ = 0;
};

}  // namespace millrace::openai_internal
