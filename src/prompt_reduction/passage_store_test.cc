#include "prompt_reduction/passage_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "prompt_reduction/nq_open_test_data.h"
#include "prompt_reduction/reduce.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class PassageStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("millrace-store-" + std::to_string(getpid()) + "-" +
               testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string PathOf(const std::string& name) const { return (folder_ / name).string(); }
  PassageStore Make() const {
    auto store = PassageStore::Create(PathOf("s.db"));
    EXPECT_TRUE(store.ok()) << store.error().message;
    return std::move(store).value();
  }
  static void Put(PassageStore& store, std::vector<StoredDocument> documents) {
    const Status added = store.Add(documents);
    EXPECT_TRUE(added.ok()) << added.error().message;
  }
  static std::vector<std::string> Ids(PassageStore& store, std::string_view question) {
    const auto found = store.Search(question, 10);
    EXPECT_TRUE(found.ok()) << found.error().message;
    std::vector<std::string> ids;
    for (const FoundPassage& f : *found) ids.push_back(f.passage.id);
    return ids;
  }

  std::filesystem::path folder_;
};

TEST_F(PassageStoreTest, OthersAreWaitedForOnlyAsLongAsTold) {
  using std::chrono::milliseconds;
  const std::string path = PathOf("s.db");
  std::optional<PassageStore> reader = Make();
  Put(*reader, {{"a", "", "Kelmora is a city."}});
  sqlite3* writer = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &writer), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(writer, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  const auto begin = std::chrono::steady_clock::now();
  auto second = PassageStore::Open(path, PassageStore::Access::kWrite, milliseconds(20));
  ASSERT_TRUE(second.ok()) << second.error().message;
  const std::vector<StoredDocument> more = {{"b", "", "Trask is a port."}};
  EXPECT_EQ(second->Add(more).error().kind, ErrorKind::kExhausted);
  EXPECT_EQ(PassageStore::Remove(path, milliseconds(20)).error().kind, ErrorKind::kExhausted);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(5000));
  sqlite3_close(writer);
  EXPECT_THAT(Ids(*second, "Kelmora or Trask"), ElementsAre("a"));  // nothing has changed
  EXPECT_TRUE(second->Add(more).ok());
  // Readers hold it too, as long as they have it open.
  second = Error{"closed"};
  EXPECT_EQ(PassageStore::Remove(path, milliseconds(20)).error().kind, ErrorKind::kExhausted);
  EXPECT_THAT(Ids(*reader, "Trask"), ElementsAre("b"));
  reader.reset();
  const Status removed = PassageStore::Remove(path, milliseconds(20));
  EXPECT_TRUE(removed.ok()) << removed.error().message;
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  EXPECT_EQ(PassageStore::Remove(path).error().kind, ErrorKind::kNotFound);
}

TEST_F(PassageStoreTest, FindsListsReplacesAndDeletes) {
  PassageStore store = Make();
  Put(store, {{"a", "Kelmora", "Kelmora is a city. Its mayor is Anna Brick."},
              {"b", "", "Trask is a port on the coast."},
              {"c", "", "Bread needs flour, water and salt."}});
  EXPECT_THAT(Ids(store, "Who is mayor of Kelmora?"), ElementsAre("a", "b"));
  EXPECT_THAT(Ids(store, "ports"), ElementsAre("b"));
  EXPECT_THAT(Ids(store, "zebra"), ElementsAre());
  const auto list = store.List("", 10);
  ASSERT_EQ(list->size(), 3u);
  EXPECT_EQ((*list)[0].title, "Kelmora");
  EXPECT_EQ((*list)[0].bytes, 43);
  EXPECT_EQ((*list)[0].passages, 1);
  EXPECT_EQ(store.List("a", 1)->at(0).id, "b");
  Put(store, {{"b", "", "Trask bakes bread."}});
  EXPECT_THAT(Ids(store, "port"), ElementsAre());
  EXPECT_THAT(Ids(store, "bread"), testing::UnorderedElementsAre("b", "c"));
  EXPECT_EQ(store.Counts()->documents, 3);
  EXPECT_TRUE(*store.Delete("c"));
  EXPECT_FALSE(*store.Delete("c"));
  EXPECT_THAT(Ids(store, "bread"), ElementsAre("b"));
  EXPECT_EQ(store.Counts()->passages, 2);
  EXPECT_TRUE(store.Verify().ok()) << store.Verify().error().message;
}

TEST_F(PassageStoreTest, LongDocumentsAreFoundByThePassageThatMatches) {
  PassageStore store = Make();
  std::string text;
  for (int i = 0; i < 500; ++i)
    text += i == 333 ? "The mayor of Kelmora is Anna Brick. " : "Other words stand in this one. ";
  Put(store, {{"long", "", text}});
  const auto found = store.Search("Who is the mayor of Kelmora?", 1);
  ASSERT_EQ(found->size(), 1u);
  const Passage& passage = (*found)[0].passage;
  EXPECT_THAT(passage.text, HasSubstr("Anna Brick"));
  EXPECT_EQ(text.substr(passage.begin, passage.text.size()), passage.text);
  EXPECT_GT(store.Counts()->passages, 10);
}

TEST_F(PassageStoreTest, ScoresAreThoseOfTheFormulaWithTheStoresCounts) {
  const std::vector<Passage> passages = {
      {.id = "0", .title = "", .text = "red apple pie"},
      {.id = "1", .title = "", .text = "green apple"},
      {.id = "2", .title = "apple", .text = "blue sky over sea"},
      {.id = "3", .title = "", .text = "nothing here at all today"}};
  PassageStore store = Make();
  for (const Passage& p : passages) Put(store, {{p.id, p.title, p.text}});
  const auto found = store.Search("Red apples?", 10);
  ASSERT_EQ(found->size(), 3u);  // the numbers are those of ranking_test
  EXPECT_NEAR((*found)[0].score, 1.7384430613581117, 1e-12);
  EXPECT_NEAR((*found)[1].score, 0.4483913580944065, 1e-12);
  EXPECT_NEAR((*found)[2].score, 0.42996431598093776, 1e-12);
}

TEST_F(PassageStoreTest, PoisonedQuestionsAndDocumentsAreWords) {
  PassageStore store = Make();
  Put(store, {{"'; DROP TABLE words; --", "\" OR 1", "mayor \xff\xfe AND NOT NEAR(x)"},
              {"dots", "", std::string(100'000, '.')},
              {"run", "", std::string(100'000, 'a')},
              {"nul", "", std::string("one\0two", 7)},
              {"empty", "", ""}});
  const std::string long_question(200'000, 'a');
  for (const std::string& question :
       {std::string("'; DROP TABLE words; --"), std::string("\" OR \"\"\" x"),
        std::string("mayor* ^x"), std::string("NEAR(mayor x, 5)"), std::string("title : mayor"),
        std::string("\xff\xc3 mayor"), std::string("a\0b mayor", 9), std::string(),
        std::string("???"), long_question, std::string("AND"), std::string("NOT NOT")}) {
    EXPECT_TRUE(store.Search(question, 10).ok()) << question.substr(0, 50);
  }
  EXPECT_THAT(Ids(store, "mayor"), ElementsAre("'; DROP TABLE words; --"));
  // Found as it will stand in a prompt.
  EXPECT_EQ(store.Search("mayor", 1)->at(0).passage.text,
            "mayor \xef\xbf\xbd\xef\xbf\xbd AND NOT NEAR(x)");
  EXPECT_TRUE(*store.Delete("'; DROP TABLE words; --"));
  EXPECT_TRUE(store.Verify().ok());
  EXPECT_FALSE(store.Add(std::vector<StoredDocument>{{"", "", "no id"}}).ok());
  EXPECT_FALSE(store.Add(std::vector<StoredDocument>{{std::string(513, 'x'), "", ""}}).ok());
  // All or none.
  EXPECT_FALSE(store.Add(std::vector<StoredDocument>{{"ok", "", "fine"}, {"", "", ""}}).ok());
  EXPECT_THAT(Ids(store, "fine"), ElementsAre());
}

TEST_F(PassageStoreTest, OpeningSaysWhatIsWrong) {
  EXPECT_EQ(PassageStore::Open(PathOf("none.db"), PassageStore::Access::kRead).error().kind,
            ErrorKind::kNotFound);
  std::ofstream(PathOf("text.db")) << std::string(5000, 'x');
  const auto no_store = PassageStore::Open(PathOf("text.db"), PassageStore::Access::kRead);
  ASSERT_FALSE(no_store.ok());
  EXPECT_THAT(no_store.error().message, HasSubstr("no store"));
  Make();
  EXPECT_FALSE(PassageStore::Create(PathOf("s.db")).ok());
}

TEST_F(PassageStoreTest, OthersReadWhileOneWrites) {
  PassageStore writer = Make();
  Put(writer, {{"a", "", "first words"}});
  auto reader = PassageStore::Open(PathOf("s.db"), PassageStore::Access::kRead);
  ASSERT_TRUE(reader.ok()) << reader.error().message;
  EXPECT_THAT(Ids(*reader, "words"), ElementsAre("a"));
  Put(writer, {{"b", "", "second words"}});
  EXPECT_EQ(Ids(*reader, "words").size(), 2u);
  EXPECT_FALSE(reader->Add(std::vector<StoredDocument>{{"c", "", "x"}}).ok());
}

// A child adds batches and tells of each that is in; it is killed at any time.
TEST_F(PassageStoreTest, KillLeavesWholeBatches) {
  for (int round = 0; round < 8; ++round) {
    const std::string path = PathOf("kill" + std::to_string(round) + ".db");
    ASSERT_TRUE(PassageStore::Create(path).ok());
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto store = PassageStore::Open(path, PassageStore::Access::kWrite);
      for (int batch = 0; store.ok(); ++batch) {
        std::vector<StoredDocument> documents;
        for (int i = 0; i < 20; ++i)
          documents.push_back({std::to_string(batch * 20 + i), "", "word" + std::to_string(i)});
        const char done = 'x';
        if (!store->Add(documents).ok() || write(pipe_ends[1], &done, 1) != 1) break;
      }
      _exit(1);
    }
    close(pipe_ends[1]);
    char told = 0;
    int64_t batches = 0;
    while (batches <= round && read(pipe_ends[0], &told, 1) == 1) ++batches;
    usleep(static_cast<useconds_t>(round) * 700);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    while (read(pipe_ends[0], &told, 1) == 1) ++batches;
    close(pipe_ends[0]);
    auto store = PassageStore::Open(path, PassageStore::Access::kWrite);
    ASSERT_TRUE(store.ok()) << store.error().message;
    const int64_t documents = store->Counts()->documents;
    EXPECT_EQ(documents % 20, 0);
    EXPECT_GE(documents, 20 * batches);
    EXPECT_LE(documents, 20 * (batches + 1));
    EXPECT_TRUE(store->Verify().ok()) << store->Verify().error().message;
  }
}

// Searching by rare words first must find what scoring everything finds; the store cuts the few
// longest passages, so its counts are a little different.
TEST_F(PassageStoreTest, NaturalQuestionsFindWhatTheInlineRankingFinds) {
  const auto data = LoadNqOpen();
  if (!data) GTEST_SKIP() << "needs ../shared/data/nq-open-oracle.jsonl.gz";
  PassageStore store = Make();
  std::vector<StoredDocument> documents;
  for (const Passage& p : data->pool) documents.push_back({p.id, p.title, p.text});
  Put(store, documents);
  TermReader reader = TermReader::Create().value();
  const PassageTerms terms = ReadTerms(reader, data->pool);
  int same = 0, questions = 0;
  for (size_t q = 0; q < data->questions.size(); q += 20, ++questions) {
    const std::string& question = data->questions[q].text;
    const auto found = store.Search(question, 5);
    ASSERT_TRUE(found.ok()) << found.error().message;
    const auto ranking = RankByBm25(ReadQuestion(reader, question), terms);
    bool equal = found->size() == std::min<size_t>(ranking.size(), 5);
    for (size_t i = 0; equal && i < found->size(); ++i)
      equal = std::abs((*found)[i].score - ranking[i].score) < 0.01 * ranking[i].score;
    same += equal ? 1 : 0;
  }
  EXPECT_GE(same, questions * 95 / 100) << same << " of " << questions;
}

}  // namespace
}  // namespace millrace
