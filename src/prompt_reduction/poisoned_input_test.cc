// What nobody should send: huge documents, texts without sentence ends, punctuation alone, broken
// UTF-8, SQL and search syntax, equal ids, HTML with scripts. Sensible results, in time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/sanitizer_for_test.h"
#include "prompt_reduction/html_text.h"
#include "prompt_reduction/passage_store.h"
#include "prompt_reduction/reduce.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr size_t kHuge = kUnderSanitizer ? size_t{5} << 20 : size_t{100} << 20;  // bytes

int64_t ByFour(std::string_view text) { return static_cast<int64_t>(text.size() / 4); }

std::string Repeated(std::string_view part, size_t bytes) {
  std::string text;
  text.reserve(bytes + part.size());
  while (text.size() < bytes) text += part;
  return text;
}

// Kept passages are pieces of their documents, and few tokens whatever came.
void ExpectSensible(std::string_view question, const std::vector<Passage>& documents) {
  ReductionConfig config;
  config.token_budget = 4000;
  const auto reduced = ReducePrompt(question, documents, config, ByFour);
  ASSERT_TRUE(reduced.ok()) << reduced.error().message;
  EXPECT_FALSE(reduced->kept.empty());
  EXPECT_LE(reduced->kept.size(), config.most);
  EXPECT_LE(reduced->tokens_after, 4500);
  for (const JudgedPassage& kept : reduced->kept) {
    const Passage& of = documents[kept.passage.document];
    EXPECT_EQ(std::string_view(of.text).substr(kept.passage.begin, kept.passage.text.size()),
              kept.passage.text);
  }
}

Passage Document(std::string text) { return {.id = "same", .title = "", .text = std::move(text)}; }

TEST(PoisonedInput, AHundredMegabytesInOneDocument) {
  std::string text = Repeated("Some other sentence stands here. ", kHuge / 2);
  text += "The mayor of Kelmora is Anna Brick. ";
  text += Repeated("And so does another one there. ", kHuge / 2);
  const std::vector<Passage> documents = {Document(std::move(text))};
  ReductionConfig config;
  const auto reduced = ReducePrompt("Who is the mayor of Kelmora?", documents, config, ByFour);
  ASSERT_TRUE(reduced.ok());
  bool found = false;
  for (const JudgedPassage& kept : reduced->kept)
    found = found || kept.passage.text.find("Anna Brick") != std::string::npos;
  EXPECT_TRUE(found);
}

TEST(PoisonedInput, NoSentenceEndsAndOnlyPunctuation) {
  const size_t bytes = kHuge / 20;
  ExpectSensible("mayor", {Document(Repeated("mayor word ", bytes))});
  ExpectSensible("mayor", {Document(std::string(bytes, 'x')), Document("mayor")});
  ExpectSensible("mayor", {Document(std::string(bytes, '.')), Document("mayor")});
  ExpectSensible("mayor", {Document(Repeated("?!. ", bytes)), Document("mayor")});
  ExpectSensible("???", {Document(std::string(1000, '!')), Document(" ")});
  ExpectSensible("市長", {Document(Repeated("市長は誰ですか", bytes)), Document("市長")});
}

TEST(PoisonedInput, BrokenBytesAndNuls) {
  std::string garbage;
  for (size_t i = 0; i < kHuge / 20; ++i) garbage += static_cast<char>((i * 7919) >> 3);
  ExpectSensible("mayor \xff", {Document(garbage), Document("mayor")});
  ExpectSensible(std::string_view("\0\0mayor", 7),
                 {Document(std::string(10'000, '\0')), Document("\xe6\x9d mayor \xf0\x9f")});
  ExpectSensible("\xe5\xb8", {Document("\xe5\xb8\x82\xe5"), Document("\xe5\xb8")});
}

TEST(PoisonedInput, QueriesAreNoSyntax) {
  const std::vector<Passage> documents = {Document("the mayor"), Document("DROP TABLE words"),
                                          Document("\" OR 1=1 --")};
  for (const char* question :
       {"'; DROP TABLE words; --", "\" OR \"\" MATCH \"", "mayor* NEAR(a b) {title text}: ^x",
        "words MATCH 'x'", "-- comment", "/* */", "mayor AND NOT mayor", ")))((("}) {
    ExpectSensible(question, documents);
  }
}

TEST(PoisonedInput, ScriptsOfPagesAreNoText) {
  const HtmlText page = ReadHtml(
      "<title>A<script>x</script></title><body onload=\"steal()\"><p>The mayor.<script>steal()"
      "</script><img src=x onerror=alert(1)><iframe src=javascript:steal()></iframe>"
      "<style>p{}</style>&lt;script&gt;shown()&lt;/script&gt;");
  EXPECT_THAT(page.text, HasSubstr("The mayor."));
  EXPECT_THAT(page.text, Not(HasSubstr("steal")));
  EXPECT_THAT(page.text, HasSubstr("<script>shown()</script>"));  // that is what a reader sees
  const HtmlText deep = ReadHtml(Repeated("<div><b>", 1 << 20));
  EXPECT_EQ(deep.text, "");
  ReadHtml(Repeated("<!--", 1 << 20));
  ReadHtml(Repeated("&#", 1 << 20));
  ReadHtml(Repeated("<script>", 1 << 20));
}

TEST(PoisonedInput, StoresTakeThemToo) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("millrace-poisoned-" + std::to_string(getpid()) + ".db");
  {
    auto store = PassageStore::Create(path.string());
    ASSERT_TRUE(store.ok()) << store.error().message;
    std::vector<StoredDocument> documents = {
        {"huge", "", Repeated("Some other sentence stands here. ", kHuge / 10) + "Anna Brick."},
        {"run", "", std::string(kHuge / 50, 'x')},
        {"dots", "", std::string(kHuge / 50, '.')},
        {"kanji", "", Repeated("市長は誰", 100'000)},
        {"'; DROP TABLE documents; --", "\"", "mayor \xff\xfe"},
        {"twice", "", "first text"},
        {"twice", "", "second text"}};
    ASSERT_TRUE(store->Add(documents).ok());
    EXPECT_EQ(store->Counts()->documents, 6);
    EXPECT_EQ(store->Search("Anna Brick", 3)->front().passage.id, "huge");
    EXPECT_EQ(store->Search("second", 3)->size(), 1u);
    EXPECT_TRUE(store->Search("first", 3)->empty());
    EXPECT_EQ(store->Search("市長", 3)->front().passage.id, "kanji");
    EXPECT_TRUE(store->Verify().ok());
    for (const StoredDocument& document : documents) store->Delete(document.id).value();
    EXPECT_EQ(store->Counts()->passages, 0);
    EXPECT_TRUE(store->Verify().ok());
  }
  for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path.string() + end);
}

}  // namespace
}  // namespace millrace
