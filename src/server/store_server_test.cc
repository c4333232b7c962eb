// /v1/vector_stores over HTTP: stores are made, filled, searched and deleted as OpenAI's client
// does it, what cannot be done is said, and no error names a file.
#include <gmock/gmock.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "embedding/embedding_test_util.h"
#include "embedding/vector_model.h"
#include "prompt_reduction/passage_store.h"
#include "server/server_test_util.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr char kStoresPath[] = "/v1/vector_stores";

class StoreServerTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    folder_ = std::filesystem::temp_directory_path() /
              ("millrace-stores-" + std::to_string(getpid()) + "-" +
               testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override {
    ServerTest::TearDown();
    std::filesystem::remove_all(folder_);
  }
  void StartWithFolder(ServerConfig config = {}) {
    config.store_folder = folder_.string();
    StartServer(std::move(config));
  }
  json Good(const ClientResponse& response, int status = 200) {
    EXPECT_EQ(response.status, status) << response.body;
    EXPECT_THAT(response.body, Not(HasSubstr(folder_.string())));
    return json::parse(response.body, nullptr, false);
  }
  json Do(const std::string& what, const json& body, int status = 200) {
    return Good(Post(kStoresPath + what, body), status);
  }
  json Get(const std::string& what, int status = 200) {
    return Good(TestClient(port()).Get(kStoresPath + what), status);
  }
  json Delete(const std::string& what, int status = 200) {
    TestClient client(port());
    client.Send("DELETE " + (kStoresPath + what) + " HTTP/1.1\r\nHost: test\r\n\r\n");
    return Good(client.ReadResponse(), status);
  }
  void MakeCities() {
    Do("", {{"name", "cities"}});
    Do("/cities/file_batches",
       {{"files", json::array({File("kelmora", "Kelmora is a port. Its mayor is Anna Brick."),
                               File("trask", "Trask lies inland. Its mayor is Bo Lund."),
                               File("a/b c", "A town with a slash in its name.")})}});
  }
  static json File(const std::string& id, const std::string& text) {
    return {{"file_id", id}, {"text", text}, {"title", id}};
  }

  void LoadEmbedding(const TinyEncoderSpec& spec = {}) {
    embedding_model_ = LoadTestModel(spec);
    embedding_ = std::make_unique<EmbeddingService>(std::move(embedding_model_.model));
    embedding_side_ = {"tiny-embed", embedding_.get()};
  }

  std::filesystem::path folder_;
  TestModel embedding_model_;
  std::unique_ptr<EmbeddingService> embedding_;
};

TEST_F(StoreServerTest, AStoreIsMadeFilledSearchedAndDeleted) {
  StartWithFolder();
  EXPECT_EQ(Get("")["data"], json::array());
  json store = Do("", {{"name", "cities"}});
  EXPECT_EQ(store["id"], "cities");
  EXPECT_EQ(store["object"], "vector_store");
  EXPECT_EQ(store["file_counts"]["total"], 0);
  EXPECT_EQ(store["status"], "completed");
  EXPECT_GT(store["created_at"].get<int64_t>(), 1'600'000'000);
  EXPECT_EQ(Do("", {{"name", "cities"}}, 409)["error"]["param"], "name");

  const json file = Do("/cities/files", File("kelmora", "Kelmora is a port. Its mayor is Anna."));
  EXPECT_EQ(file["id"], "kelmora");
  EXPECT_EQ(file["object"], "vector_store.file");
  EXPECT_EQ(file["vector_store_id"], "cities");
  EXPECT_EQ(file["millrace"]["passages"], 1);
  const json batch =
      Do("/cities/file_batches", {{"files", json::array({File("trask", "Trask lies inland."),
                                                         File("rell", "Rell has a mayor too.")})}});
  EXPECT_EQ(batch["status"], "completed");
  EXPECT_EQ(batch["file_counts"]["completed"], 2);
  store = Do("/cities/documents",
             {{"documents", json::array({{{"id", "omm"}, {"text", "Omm is small."}}})}});
  EXPECT_EQ(store["file_counts"]["total"], 4);
  EXPECT_EQ(Get("/cities")["millrace"]["passages"], 4);
  EXPECT_EQ(Get("")["data"][0]["id"], "cities");

  const json found = Do("/cities/search", {{"query", "Who is the mayor of Kelmora?"}});
  EXPECT_EQ(found["object"], "vector_store.search_results.page");
  ASSERT_GE(found["data"].size(), 2u);
  EXPECT_EQ(found["data"][0]["file_id"], "kelmora");
  EXPECT_EQ(found["data"][0]["content"][0]["text"], "Kelmora is a port. Its mayor is Anna.");
  EXPECT_GT(found["data"][0]["score"].get<double>(), found["data"][1]["score"].get<double>());
  EXPECT_EQ(Do("/cities/search",
               {{"query", json::array({"mayor", "Kelmora"})}, {"max_num_results", 1}})["data"]
                .size(),
            1u);

  EXPECT_EQ(Delete("/cities")["object"], "vector_store.deleted");
  Get("/cities", 404);
  Delete("/cities", 404);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

// The texts share no word with the question; the order is that of the cosines of /v1/embeddings.
TEST_F(StoreServerTest, WithAnEmbeddingModelVectorsAreMadeAndSearched) {
  LoadEmbedding();
  StartWithFolder();
  const std::string texts[] = {"the mill race", "water, a wheel.", "how well", "x, y, z."};
  EXPECT_EQ(Do("", {{"name", "v"}})["millrace"]["embedding_model"], "tiny-embed");
  for (size_t i = 0; i < 4; ++i) {
    Do("/v/files", {{"file_id", std::to_string(i)}, {"text", texts[i]}});
  }
  const json vectors = json::parse(
      Post("/v1/embeddings", {{"input", {texts[0], texts[1], texts[2], texts[3], "grain"}}}).body);
  std::vector<std::pair<double, std::string>> nearest;
  for (size_t i = 0; i < 4; ++i) {
    const auto a = vectors["data"][i]["embedding"].get<std::vector<double>>();
    const auto b = vectors["data"][4]["embedding"].get<std::vector<double>>();
    double cosine = 0;
    for (size_t j = 0; j < a.size(); ++j) cosine += a[j] * b[j];
    nearest.emplace_back(-cosine, std::to_string(i));
  }
  std::sort(nearest.begin(), nearest.end());
  const json found = Do("/v/search", {{"query", "grain"}})["data"];
  ASSERT_EQ(found.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(found[i]["file_id"], nearest[i].second) << i;
    EXPECT_NEAR(found[i]["score"].get<double>(), 1.0 / (61 + static_cast<double>(i)), 1e-12);
  }
  json request = Chat(4);
  request["messages"] = json::array({Message("user", "grain")});
  request["millrace"] = {{"store", "v"}, {"reduce", "top:1"}};
  const json told = Good(Post(kChatPath, request))["usage"]["millrace"]["reduction"];
  ASSERT_EQ(told["kept"].size(), 1u);
  EXPECT_EQ(told["kept"][0]["id"], nearest[0].second);
  Delete("/v/files/" + nearest[0].second);
  EXPECT_EQ(Do("/v/search", {{"query", "grain"}})["data"][0]["file_id"], nearest[1].second);
}

TEST_F(StoreServerTest, AStoreOfAnotherModelIsRefused) {
  LoadEmbedding();
  const std::string file = (folder_ / "v.db").string();
  {
    TinyEncoderSpec spec;
    spec.seed = 2;
    TestModel other = LoadTestModel(spec);
    EmbeddingService service(std::move(other.model));
    const VectorModel model = MakeVectorModel(service, "other").value();
    ASSERT_TRUE(PassageStore::Create(file, &model).ok());
  }
  StartWithFolder();
  for (const json& refused : {Do("/v/search", {{"query", "x"}}, 400),
                              Do("/v/files", File("a", "x"), 400), Get("/v/files", 400)}) {
    EXPECT_THAT(refused["error"]["message"].get<std::string>(),
                HasSubstr("The store 'v' holds vectors of the embedding model 'other'"));
  }
  json request = Chat(2);
  request["millrace"] = {{"store", "v"}};
  EXPECT_THAT(Good(Post(kChatPath, request), 400)["error"]["message"].get<std::string>(),
              HasSubstr("the embedding model 'other'"));
  EXPECT_EQ(Get("/v")["millrace"]["embedding_model"], "other");
  // Without any model it is searched by words, but not added to.
  TearDown();
  std::filesystem::create_directories(folder_);
  LoadEmbedding();
  const VectorModel model = MakeVectorModel(*embedding_, "own").value();
  {
    auto store = PassageStore::Create(file, &model);
    ASSERT_TRUE(store->Add(std::vector<StoredDocument>{{"a", "", "a word"}}).ok());
  }
  embedding_side_ = {};
  StartWithFolder();
  EXPECT_EQ(Do("/v/search", {{"query", "word"}})["data"].size(), 1u);
  EXPECT_THAT(Do("/v/files", File("b", "x"), 400)["error"]["message"].get<std::string>(),
              HasSubstr("'v' holds vectors of the embedding model 'own', without which nothing can "
                        "be added"));
  Delete("/v/files/a");
}

TEST_F(StoreServerTest, FilesAreListedReadAndDeleted) {
  StartWithFolder();
  MakeCities();
  const auto ids = [&](const std::string& query) {
    std::vector<std::string> names;
    const json page = Get("/cities/files" + query);
    for (const json& file : page["data"]) names.push_back(file["id"]);
    return names;
  };
  EXPECT_THAT(ids(""), ElementsAre("a/b c", "kelmora", "trask"));
  EXPECT_THAT(ids("?limit=1"), ElementsAre("a/b c"));
  EXPECT_EQ(Get("/cities/files?limit=1")["has_more"], true);
  EXPECT_THAT(ids("?limit=2&after=a%2Fb%20c"), ElementsAre("kelmora", "trask"));
  EXPECT_EQ(Get("/cities/files?after=kelmora")["has_more"], false);
  for (const char* limit : {"0", "101", "x", "1x", "-1"}) {
    EXPECT_EQ(Get(std::string("/cities/files?limit=") + limit, 400)["error"]["param"], "limit");
  }
  EXPECT_EQ(Get("/cities/files/a%2Fb%20c")["usage_bytes"], 32);
  EXPECT_EQ(Get("/cities/files/trask/content")["data"][0]["text"],
            "Trask lies inland. Its mayor is Bo Lund.");
  Get("/cities/files/none", 404);
  Get("/cities/files/none/content", 404);
  EXPECT_EQ(Delete("/cities/files/trask")["object"], "vector_store.file.deleted");
  Delete("/cities/files/trask", 404);
  EXPECT_EQ(Delete("/cities/documents/kelmora")["deleted"], true);
  EXPECT_THAT(ids(""), ElementsAre("a/b c"));
}

TEST_F(StoreServerTest, AChatNamesAStoreOfTheFolder) {
  StartWithFolder();
  MakeCities();
  json request = Chat(4);
  request["messages"] = json::array({Message("user", "Who is the mayor of Trask?")});
  request["millrace"] = {{"store", "cities"}};
  const ClientResponse response = Post(kChatPath, request);
  ASSERT_EQ(response.status, 200) << response.body;
  const json told = json::parse(response.body)["usage"]["millrace"]["reduction"];
  ASSERT_FALSE(told["kept"].empty());
  bool best = false;
  for (const json& kept : told["kept"])
    best = best || (kept["id"] == "trask" && kept["why"] == "best");
  EXPECT_TRUE(best) << told;
}

TEST_F(StoreServerTest, RequestsOnlyReadStoresThatWereGiven) {
  const std::string path = (folder_ / "given.sqlite").string();
  {
    auto store = PassageStore::Create(path);
    ASSERT_TRUE(store.ok()) << store.error().message;
    ASSERT_TRUE(store->Add(std::vector<StoredDocument>{{"a", "", "a given text"}}).ok());
  }
  ServerConfig config;
  config.stores["given"] = path;
  StartServer(std::move(config));
  EXPECT_EQ(Get("/given")["millrace"]["writable"], false);
  EXPECT_EQ(Do("/given/search", {{"query", "given"}})["data"].size(), 1u);
  Do("/given/files", File("b", "x"), 403);
  Delete("/given", 403);
  Delete("/given/files/a", 403);
  EXPECT_THAT(Do("", {{"name", "mine"}}, 403)["error"]["message"].get<std::string>(),
              HasSubstr("--store-dir"));
}

TEST_F(StoreServerTest, WhatCannotBeDoneIsSaid) {
  StartWithFolder();
  MakeCities();
  EXPECT_THAT(Do("", json::object())["id"].get<std::string>(), HasSubstr("vs_"));
  for (const char* name : {"", "a/b", "..", "a.b", "\u00e4", " "}) {
    EXPECT_EQ(Do("", {{"name", name}}, 400)["error"]["param"], "name") << name;
  }
  EXPECT_EQ(Do("", {{"name", std::string(65, 'a')}}, 400)["error"]["param"], "name");
  EXPECT_EQ(Do("", {{"file_ids", json::array({"file-1"})}}, 400)["error"]["param"], "file_ids");
  EXPECT_EQ(Do("/cities/files", {{"file_id", "file-1"}}, 400)["error"]["param"], "text");
  json file = File("x", "y");
  file["attributes"] = {{"year", 2024}};
  EXPECT_EQ(Do("/cities/files", file, 400)["error"]["param"], "attributes");
  EXPECT_EQ(
      Do("/cities/file_batches", {{"files", json::array({File("", "y")})}}, 400)["error"]["param"],
      "files[0].file_id");
  EXPECT_EQ(Do("/cities/search", {{"query", ""}}, 400)["error"]["param"], "query");
  EXPECT_EQ(Do("/cities/search", {{"query", "x"}, {"max_num_results", 51}}, 400)["error"]["param"],
            "max_num_results");
  EXPECT_EQ(
      Do("/cities/search", {{"query", "x"}, {"filters", {{"type", "eq"}}}}, 400)["error"]["param"],
      "filters");
  Do("/cities/nothing", json::object(), 404);
  Get("/..%2f..%2fetc%2fpasswd", 404);
  Do("/none/search", {{"query", "x"}}, 404);
  EXPECT_EQ(Get("/cities")["file_counts"]["total"], 3);  // and nothing has changed
}

TEST_F(StoreServerTest, PoisonedTextsAndQuestionsAreWords) {
  StartWithFolder();
  Do("", {{"name", "p"}});
  const std::string hostile[] = {"'; DROP TABLE documents; --", "\" OR NEAR(a*) AND (",
                                 "<script>alert('x')</script>", std::string(200'000, '.'),
                                 std::string(200'000, 'x')};
  for (const std::string& text : hostile) Do("/p/files", File("id '\";--", text));
  EXPECT_EQ(Get("/p")["file_counts"]["total"], 1);  // each replaced the one before
  for (const std::string& text : hostile) {
    if (text.size() < 60'000) Do("/p/search", {{"query", text}});
  }
  Do("/p/search", {{"query", std::string(70'000, 'x')}}, 400);
  EXPECT_EQ(Good(TestClient(port()).Post(std::string(kStoresPath) + "/p/files",
                                         "{\"file_id\":\"a\",\"text\":\"\xff\xfe\"}"),
                 400)["error"]["type"],
            "invalid_request_error");
  EXPECT_EQ(
      Post(std::string(kStoresPath) + "/p/files", File("a", std::string(9'000'000, 'x'))).status,
      413);
}

// Broken files and locks, on the routes and where a chat names the store: no file is named.
TEST_F(StoreServerTest, BrokenAndBusyStoresAreSaidWithoutTheirFiles) {
  StartWithFolder();
  MakeCities();
  std::ofstream(folder_ / "broken.db") << std::string(20'000, 'x');
  json request = Chat(2);
  request["millrace"] = {{"store", "broken"}};
  EXPECT_EQ(Good(Post(kChatPath, request), 400)["error"]["message"],
            Do("/broken/search", {{"query", "x"}}, 400)["error"]["message"]);
  request["millrace"]["store"] = "none";
  EXPECT_EQ(Good(Post(kChatPath, request), 404)["error"]["param"], "millrace.store");
  EXPECT_FALSE(Get("/broken")["millrace"]["problem"].get<std::string>().empty());
  EXPECT_EQ(Get("")["data"].size(), 2u);

  sqlite3* writer = nullptr;
  ASSERT_EQ(sqlite3_open((folder_ / "cities.db").c_str(), &writer), SQLITE_OK);
  sqlite3_busy_timeout(writer, 10'000);  // a reader may not have let go yet
  ASSERT_EQ(sqlite3_exec(writer, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_EQ(Do("/cities/files", File("x", "y"), 503)["error"]["code"], "store_busy");
  EXPECT_EQ(Delete("/cities", 503)["error"]["code"], "store_busy");
  EXPECT_EQ(Do("/cities/search", {{"query", "mayor"}})["data"].size(), 2u);  // readers go on
  // Nobody may read either: the chat gives up soon, not after a writer's ten seconds.
  ASSERT_EQ(sqlite3_exec(writer,
                         "COMMIT; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;"
                         "UPDATE totals SET version = version; COMMIT",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  request["millrace"]["store"] = "cities";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(Good(Post(kChatPath, request), 503)["error"]["code"], "store_busy");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(8));
  sqlite3_close(writer);
  EXPECT_EQ(Post(kChatPath, request).status, 200);
}

}  // namespace
}  // namespace millrace
