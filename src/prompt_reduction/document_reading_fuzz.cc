// libFuzzer target: any bytes as HTML, as Markdown, as a text that is cut into sentences and words,
// and as a document that a store takes in and is asked for.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "prompt_reduction/html_text.h"
#include "prompt_reduction/passage_store.h"
#include "prompt_reduction/search_terms.h"
#include "prompt_reduction/sentence_chunks.h"
#include "prompt_reduction/sentence_extraction.h"

namespace {

void RequireReading(bool condition) {
  if (!condition) std::abort();
}

millrace::PassageStore& Store() {
  static millrace::PassageStore store = [] {
    const auto path = std::filesystem::temp_directory_path() /
                      ("millrace-fuzz-" + std::to_string(getpid()) + ".db");
    std::filesystem::remove(path);
    return millrace::PassageStore::Create(path.string()).value();
  }();
  return store;
}

void ReadSentences(std::string_view text) {
  using namespace millrace;
  size_t at = 0;
  for (const TextSpan& span : Sentences(text)) {
    RequireReading(span.begin >= at && span.begin < span.end && span.end <= text.size());
    at = span.end;
  }
  static TermReader reader = TermReader::Create().value();
  reader.ReadWithSource(text, [&](std::string_view term, std::string_view source) {
    RequireReading(!term.empty() && source.data() >= text.data() &&
                   source.data() + source.size() <= text.data() + text.size());
  });
  Passage passage = {.id = "", .title = "", .text = std::string(text)};
  Passage* const passages[] = {&passage};
  ExtractSentences(reader, text.substr(0, text.size() / 2), 0.5, passages);
  RequireReading(text.substr(passage.begin, passage.text.size()) == passage.text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const HtmlText page = ReadHtml(text);
  RequireReading(page.text.size() <= 3 * size && page.title.size() <= 3 * size);
  RequireReading(MarkdownTitle(text, 20).size() <= 20);
  ReadSentences(text);
  if (size > 4096) return 0;
  const std::vector<StoredDocument> documents = {
      {"d", page.title.substr(0, kMaxStoredTitle), std::string(text)}};
  RequireReading(Store().Add(documents).ok());
  const auto found = Store().Search(text.substr(0, 200), 5);
  RequireReading(found.ok());
  for (const FoundPassage& f : *found) {
    // Up to the first byte that is no UTF-8, in whose place another stands.
    const std::string_view whole =
        std::string_view(f.passage.text).substr(0, f.passage.text.find("\xef\xbf\xbd"));
    RequireReading(text.substr(f.passage.begin, whole.size()) == whole);
  }
  return 0;
}
