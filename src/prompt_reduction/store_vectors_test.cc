// Stores with vectors: what they find that no word does, whose vectors they are, and that vectors
// and passages stay in step, also under kill -9 and beside readers.
#include "prompt_reduction/store_vectors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "prompt_reduction/candidates.h"
#include "prompt_reduction/passage_store.h"
#include "prompt_reduction/reduce.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A "model" whose axes are meanings: a text's vector counts the words of each, at length 1; a text
// without any points along the last axis.
VectorModel MeaningModel(std::string name = "meanings", int32_t width = 4) {
  VectorModel model;
  model.name = std::move(name);
  model.width = width;
  model.embed = [width](std::span<const std::string> texts) -> Result<std::vector<float>> {
    const std::vector<std::vector<const char*>> meanings = {
        {"mayor", "reigns", "government"}, {"harbour", "port", "sea"}, {"bread", "flour"}};
    std::vector<float> vectors;
    for (const std::string& text : texts) {
      std::vector<float> v(static_cast<size_t>(width));
      for (size_t m = 0; m < meanings.size(); ++m) {
        for (const char* word : meanings[m]) v[m] += text.find(word) != std::string::npos ? 1 : 0;
      }
      float square = 0;
      for (const float x : v) square += x * x;
      if (square == 0) v.back() = 1;
      for (float& x : v) x = square == 0 ? x : x / std::sqrt(square);
      vectors.insert(vectors.end(), v.begin(), v.end());
    }
    return vectors;
  };
  const std::string probe = kVectorProbe;  // has "flour"
  model.probe = model.embed({&probe, 1}).value();
  return model;
}

class VectorStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("millrace-vectors-" + std::to_string(getpid()) + "-" +
               testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
    path_ = (folder_ / "s.db").string();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  PassageStore Make(const VectorModel& model) const {
    auto store = PassageStore::Create(path_, &model);
    EXPECT_TRUE(store.ok()) << store.error().message;
    return std::move(store).value();
  }
  PassageStore Open(PassageStore::Access access, const VectorModel* model) const {
    auto store = PassageStore::Open(path_, access);
    EXPECT_TRUE(store.ok()) << store.error().message;
    if (model != nullptr) {
      const Status used = store->UseModel(*model);
      EXPECT_TRUE(used.ok()) << used.error().message;
    }
    return std::move(store).value();
  }
  static void Put(PassageStore& store, std::vector<StoredDocument> documents) {
    const Status added = store.Add(documents);
    EXPECT_TRUE(added.ok()) << added.error().message;
  }
  static std::vector<std::string> Ids(PassageStore& store, std::string_view question,
                                      size_t most = 10) {
    const auto found = FindInStore(store, question, most);
    EXPECT_TRUE(found.ok()) << found.error().message;
    std::vector<std::string> ids;
    for (const FoundPassage& f : *found) ids.push_back(f.passage.id);
    return ids;
  }

  const VectorModel model_ = MeaningModel();
  std::filesystem::path folder_;
  std::string path_;
};

const std::vector<StoredDocument> kTowns = {
    {"kelmora", "", "Kelmora: head of government is Anna Brick."},
    {"trask", "", "Trask has a mayor, a harbour and a port by the sea."},
    {"rell", "", "Rell bakes bread of rye flour."},
    {"omm", "", "Omm is quiet."}};

// Cosines to "who reigns" (1, 0, 0, 0): kelmora 1, trask 1 / sqrt(10), rell and omm 0. By words
// nothing is found. Ranks, equal ones by their place: 1/61, 1/62, ...
TEST_F(VectorStoreTest, FindsWhatNoWordDoes) {
  PassageStore store = Make(model_);
  Put(store, kTowns);
  const auto found = store.Search("who reigns", 10);
  ASSERT_TRUE(found.ok()) << found.error().message;
  ASSERT_EQ(found->size(), 4u);
  EXPECT_EQ((*found)[0].passage.id, "kelmora");
  EXPECT_EQ((*found)[0].score, 0);
  EXPECT_NEAR(*(*found)[0].cosine, 1, 1e-6);
  EXPECT_EQ((*found)[1].passage.id, "trask");
  EXPECT_NEAR(*(*found)[1].cosine, 1 / std::sqrt(10), 1.0 / 256);
  EXPECT_NEAR(*(*found)[2].cosine, 0, 1e-6);
  const auto fused = FindInStore(store, "who reigns", 2);
  ASSERT_EQ(fused->size(), 2u);
  EXPECT_EQ((*fused)[0].passage.id, "kelmora");
  EXPECT_NEAR((*fused)[0].score, 1.0 / 61, 1e-15);
  EXPECT_NEAR((*fused)[1].score, 1.0 / 62, 1e-15);
  // Without the model the same file is searched by words alone.
  PassageStore words = Open(PassageStore::Access::kRead, nullptr);
  EXPECT_THAT(Ids(words, "who reigns"), ElementsAre());
}

// "who reigns Trask": by words only trask; by vectors kelmora, trask, rell, omm. trask 1/61 +
// 1/62, kelmora 1/61, rell 1/63, omm 1/64.
TEST_F(VectorStoreTest, BothRankingsAreFusedByTheirRanks) {
  PassageStore store = Make(model_);
  Put(store, kTowns);
  const auto found = FindInStore(store, "who reigns Trask", 10);
  ASSERT_EQ(found->size(), 4u);
  EXPECT_EQ((*found)[0].passage.id, "trask");
  EXPECT_NEAR((*found)[0].score, 1.0 / 61 + 1.0 / 62, 1e-15);
  EXPECT_EQ((*found)[1].passage.id, "kelmora");
  EXPECT_NEAR((*found)[1].score, 1.0 / 61, 1e-15);
  EXPECT_NEAR((*found)[3].score, 1.0 / 64, 1e-15);
}

TEST_F(VectorStoreTest, ReductionKeepsWhatVectorsFind) {
  PassageStore store = Make(model_);
  Put(store, kTowns);
  ReductionConfig config;
  config.least = 1;
  const auto reduced = ReduceFromStore(store, "who reigns", config, [](std::string_view text) {
    return static_cast<int64_t>(text.size());
  });
  ASSERT_TRUE(reduced.ok()) << reduced.error().message;
  ASSERT_EQ(reduced->kept.size(), 1u);
  EXPECT_EQ(reduced->kept[0].passage.id, "kelmora");
  EXPECT_NEAR(reduced->kept[0].score, 1, 1e-6);  // the furthest above the mean
}

TEST_F(VectorStoreTest, AddingAndDeletingKeepThemInStep) {
  PassageStore store = Make(model_);
  Put(store, kTowns);
  Put(store, {{"kelmora", "", "Kelmora bakes bread."}});  // replaced
  EXPECT_EQ(Ids(store, "government", 1), std::vector<std::string>{"trask"});
  EXPECT_EQ(Ids(store, "flour", 1), std::vector<std::string>{"rell"});
  EXPECT_TRUE(*store.Delete("rell"));
  EXPECT_THAT(Ids(store, "flour"), ElementsAre("kelmora", "trask", "omm"));
  // A document without a passage has no vector; one of many passages has one for each.
  std::string text;
  for (int i = 0; i < 400; ++i) text += i == 300 ? "A port. " : "Nothing of note in this one. ";
  Put(store, {{"empty", "", ""}, {"long", "", text}});
  EXPECT_GT(store.Counts()->passages, 5);
  const auto found = store.Search("sea", 1);
  EXPECT_THAT((*found)[0].passage.id, "trask");  // by the word
  EXPECT_THAT((*found)[1].passage.text, HasSubstr("A port."));
  EXPECT_TRUE(store.Verify().ok()) << store.Verify().error().message;
  for (const char* id : {"long", "empty", "kelmora", "trask", "omm"}) store.Delete(id).value();
  EXPECT_THAT(Ids(store, "flour"), ElementsAre());
  EXPECT_TRUE(store.Verify().ok()) << store.Verify().error().message;
}

TEST_F(VectorStoreTest, AnotherModelIsRefused) {
  Make(model_);
  EXPECT_EQ(Open(PassageStore::Access::kRead, nullptr).vector_model(), "meanings");
  PassageStore store = Open(PassageStore::Access::kWrite, nullptr);
  const Status wider = store.UseModel(MeaningModel("wider", 5));
  ASSERT_FALSE(wider.ok());
  EXPECT_EQ(wider.error().kind, ErrorKind::kUnsupported);
  EXPECT_EQ(wider.error().message,
            "holds vectors of the embedding model 'meanings' (4 wide), and this one is 'wider' (5 "
            "wide): use that model, or make the store again with this one");
  VectorModel other = MeaningModel("meanings");  // its name says nothing
  std::swap(other.probe[2], other.probe[0]);
  EXPECT_THAT(store.UseModel(other).error().message, HasSubstr("whose vectors differ"));
  const VectorModel renamed = MeaningModel("another name");
  EXPECT_TRUE(store.UseModel(renamed).ok());
  // Without a model nothing is added, but deleted.
  PassageStore blind = Open(PassageStore::Access::kWrite, nullptr);
  Put(store, kTowns);
  EXPECT_THAT(blind.Add(kTowns).error().message, HasSubstr("--embedding-model"));
  EXPECT_TRUE(*blind.Delete("omm"));
  EXPECT_TRUE(blind.Verify().ok());
  // A store without vectors has no use for a model.
  path_ = (folder_ / "words.db").string();
  PassageStore words = PassageStore::Create(path_).value();
  EXPECT_TRUE(words.UseModel(model_).ok());
  Put(words, kTowns);
  EXPECT_EQ(words.vector_model(), "");
  EXPECT_THAT(Ids(words, "reigns"), ElementsAre());
}

TEST_F(VectorStoreTest, AModelThatFailsChangesNothing) {
  VectorModel failing = model_;
  PassageStore store = Make(model_);
  Put(store, kTowns);
  PassageStore second = Open(PassageStore::Access::kWrite, nullptr);
  failing.embed = [](std::span<const std::string>) -> Result<std::vector<float>> {
    return Error{"no model", ErrorKind::kExhausted};
  };
  ASSERT_TRUE(second.UseModel(failing).ok());
  EXPECT_EQ(second.Add(std::vector<StoredDocument>{{"new", "", "A port."}}).error().message,
            "no model");
  EXPECT_EQ(second.Search("port", 3).error().message, "no model");
  failing.embed = [](std::span<const std::string>) -> Result<std::vector<float>> {
    return std::vector<float>(3);
  };
  EXPECT_EQ(second.Search("port", 3).error().kind, ErrorKind::kInternal);
  EXPECT_EQ(store.Counts()->documents, 4);
  EXPECT_TRUE(store.Verify().ok());
}

TEST_F(VectorStoreTest, DamageIsSeen) {
  PassageStore store = Make(model_);
  Put(store, kTowns);
  sqlite3* raw = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &raw), SQLITE_OK);
  const auto execute = [&](const char* sql) {
    ASSERT_EQ(sqlite3_exec(raw, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sql;
  };
  execute("UPDATE vectors SET vector = x'0001' WHERE id = 2");
  EXPECT_EQ(store.Search("who reigns", 3).error().kind, ErrorKind::kIo);
  EXPECT_FALSE(store.Verify().ok());
  execute("DELETE FROM vectors WHERE id = 2");
  EXPECT_EQ(store.Search("mayor", 3).error().kind, ErrorKind::kIo);
  EXPECT_FALSE(store.Verify().ok());
  execute("DELETE FROM vector_model");
  EXPECT_EQ(PassageStore::Open(path_, PassageStore::Access::kRead).error().kind, ErrorKind::kIo);
  sqlite3_close(raw);
}

// A child replaces and deletes; it is killed at any time while two readers search.
TEST_F(VectorStoreTest, KillLeavesThemInStepAndReadersGoOn) {
  Make(model_);
  for (int round = 0; round < 6; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto store = PassageStore::Open(path_, PassageStore::Access::kWrite);
      if (!store.ok() || !store->UseModel(model_).ok()) _exit(2);
      for (int batch = 0; batch < 100'000; ++batch) {
        std::vector<StoredDocument> documents;
        for (int i = 0; i < 20; ++i) {
          documents.push_back({std::to_string(i), "", i % 2 == 0 ? "a port" : "a mayor, by word"});
        }
        const char done = 'x';
        if (!store->Add(documents).ok() || !store->Delete("3").ok()) _exit(3);
        if (write(pipe_ends[1], &done, 1) != 1) break;
      }
      _exit(1);
    }
    close(pipe_ends[1]);
    char told = 0;
    ASSERT_EQ(read(pipe_ends[0], &told, 1), 1);
    const auto search = [&] {
      PassageStore reader = Open(PassageStore::Access::kRead, &model_);
      for (int i = 0; i < 20; ++i) {
        const auto found = reader.Search("harbour of government", 50);
        ASSERT_TRUE(found.ok()) << found.error().message;
        EXPECT_GE(found->size(), 19u);  // of one moment: with document 3 or without
        EXPECT_LE(found->size(), 20u);
      }
    };
    std::thread other(search);
    search();
    other.join();
    usleep(static_cast<useconds_t>(round) * 700);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    close(pipe_ends[0]);
    PassageStore store = Open(PassageStore::Access::kWrite, &model_);
    EXPECT_TRUE(store.Verify().ok()) << store.Verify().error().message;
    Put(store, {{"by sea", "", "another harbour"}});
    EXPECT_GE(Ids(store, "sea", 50).size(), 20u);
    store.Delete("by sea").value();
  }
}

}  // namespace
}  // namespace millrace
