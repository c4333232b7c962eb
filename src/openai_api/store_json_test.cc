#include "openai_api/store_json.h"

#include <gmock/gmock.h>

#include "openai_api/parsing_test_util.h"

namespace millrace {
namespace {

constexpr UnknownFields kIgnore = UnknownFields::kIgnore;
constexpr UnknownFields kRefuse = UnknownFields::kRefuse;

TEST(StoreJson, NamesAreSafeInPaths) {
  for (const char* name : {"a", "Z9_-", "vs_0123456789abcdef"}) EXPECT_TRUE(IsStoreName(name));
  for (const char* name : {"", ".", "..", "a/b", "a b", "a.db", "\xc3\xa4"})
    EXPECT_FALSE(IsStoreName(name)) << name;
  EXPECT_TRUE(IsStoreName(std::string(64, 'a')));
  EXPECT_FALSE(IsStoreName(std::string(65, 'a')));
}

TEST(StoreJson, CreationTakesAName) {
  EXPECT_EQ(std::get<std::string>(ParseStoreCreation(R"({"name":"x"})", "y", kRefuse)), "x");
  EXPECT_EQ(
      std::get<std::string>(ParseStoreCreation(R"({"metadata":{},"file_ids":[]})", "y", kRefuse)),
      "y");
  EXPECT_EQ(ErrorOf(ParseStoreCreation(R"({"name":"a/b"})", "y", kIgnore), "a/b").param, "name");
  EXPECT_EQ(ErrorOf(ParseStoreCreation(R"({"name":7})", "y", kIgnore), "7").param, "name");
  EXPECT_EQ(ErrorOf(ParseStoreCreation(R"({"expires_after":{"days":1}})", "y", kIgnore), "").param,
            "expires_after");
  EXPECT_EQ(ErrorOf(ParseStoreCreation(R"({"nonsense":1})", "y", kRefuse), "").param, "nonsense");
  ErrorOf(ParseStoreCreation("[", "y", kIgnore), "[");
}

TEST(StoreJson, DocumentsNeedIdsAndTexts) {
  const auto documents = std::get<std::vector<StoredDocument>>(ParseStoreDocuments(
      R"({"documents":[{"id":"a","text":"x","title":"t"},{"id":"b","text":""}]})", kRefuse));
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[0].title, "t");
  EXPECT_EQ(documents[1].id, "b");
  EXPECT_EQ(ErrorOf(ParseStoreDocuments(R"({"documents":["x"]})", kIgnore), "").param,
            "documents[0].id");
  EXPECT_EQ(ErrorOf(ParseStoreDocuments(R"({"documents":[]})", kIgnore), "").param, "documents");
  EXPECT_EQ(ErrorOf(ParseStoreDocuments("{}", kIgnore), "").param, "documents");
}

TEST(StoreJson, FilesCarryTheirTexts) {
  const auto file = std::get<StoredDocument>(
      ParseStoreFile(R"({"file_id":"a","text":"x","attributes":null})", kRefuse));
  EXPECT_EQ(file.id, "a");
  EXPECT_EQ(file.text, "x");
  EXPECT_EQ(ErrorOf(ParseStoreFile(R"({"file_id":"a"})", kIgnore), "").param, "text");
  EXPECT_EQ(ErrorOf(ParseStoreFile(R"({"text":"a"})", kIgnore), "").param, "file_id");
  const std::string long_id(513, 'x');
  EXPECT_EQ(
      ErrorOf(ParseStoreFile(json{{"file_id", long_id}, {"text", ""}}.dump(), kIgnore), "").param,
      "file_id");
  const std::string long_title(4097, 'x');
  EXPECT_EQ(
      ErrorOf(ParseStoreFile(json{{"file_id", "a"}, {"text", ""}, {"title", long_title}}.dump(),
                             kIgnore),
              "")
          .param,
      "title");
  EXPECT_EQ(ErrorOf(ParseStoreFileBatch(R"({"files":[{"file_id":"a","text":"x"},7]})", kIgnore), "")
                .param,
            "files[1]");
  EXPECT_EQ(
      ErrorOf(ParseStoreFileBatch(R"({"files":[{"file_id":"a","text":"x","y":1}]})", kRefuse), "")
          .param,
      "files[0].y");
  EXPECT_EQ(ErrorOf(ParseStoreFileBatch(R"({"file_ids":["a"]})", kIgnore), "").param, "file_ids");
}

TEST(StoreJson, SearchesHaveAQuestion) {
  const auto search = std::get<StoreSearch>(ParseStoreSearch(
      R"({"query":["a","b"],"max_num_results":3,"rewrite_query":false})", kRefuse));
  EXPECT_EQ(search.question, "a\nb");
  EXPECT_EQ(search.most, 3u);
  for (const char* body :
       {R"({"query":""})", R"({"query":[]})", R"({"query":[1]})", R"({"query":1})", "{}"}) {
    EXPECT_EQ(ErrorOf(ParseStoreSearch(body, kIgnore), body).param, "query");
  }
  EXPECT_EQ(ErrorOf(ParseStoreSearch(R"({"query":"a","rewrite_query":true})", kIgnore), "").param,
            "rewrite_query");
}

TEST(StoreJson, BrokenBytesStayValidJson) {
  const FoundPassage found[] = {{{.id = "\xff", .title = "", .text = "a\xfe"}, 1.5, {}}};
  const json page = json::parse(StoreSearchJson("q", found));
  EXPECT_EQ(page["data"][0]["score"], 1.5);
  EXPECT_EQ(page["data"][0]["content"][0]["text"], "a\xef\xbf\xbd");
  const Passage passages[] = {{.id = "a", .title = "", .text = "\xff", .begin = 7}};
  const json content = json::parse(StoreFileContentJson(passages));
  ASSERT_EQ(content["data"].size(), 1u);
  EXPECT_EQ(content["data"][0]["begin"], 7);
  EXPECT_EQ(json::parse(StoreFileListJson("s", {}, false))["first_id"], nullptr);
}

}  // namespace
}  // namespace millrace
