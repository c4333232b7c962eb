// Passages over HTTP: what reaches the prompt, what the answer, the ledger and /metrics tell of it,
// and that poisoned ones are refused or harmless.
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "prompt_reduction/passage_store.h"
#include "server/server_test_util.h"

namespace millrace {
namespace {

using testing::HasSubstr;

class ReductionServerTest : public ServerTest {
 protected:
  // Twelve cities and what is asked of one of them.
  static json Asking(const json& reduce) {
    json request = Chat(4);
    request["messages"] = json::array({Message("user", "Who is the mayor of city3?")});
    for (int i = 0; i < 12; ++i) {
      const std::string city = "city" + std::to_string(i);
      request["documents"].push_back({{"id", "d" + std::to_string(i)},
                                      {"text", city + " is a port. The mayor of " + city +
                                                   " is number " + std::to_string(100 + i) + "."}});
    }
    if (!reduce.is_null()) request["millrace"] = {{"reduce", reduce}};
    return request;
  }
  json Answer(const json& request) {
    const ClientResponse response = Post(kChatPath, request);
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body);
  }
  double Sample(const std::string& name) {
    const std::string text = "\n" + TestClient(port()).Get("/metrics").body;
    const size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
  }
};

// The scorer says that every token could have been guessed: what must stay stays, the rest goes.
TEST_F(ReductionServerTest, PrunedPassagesAreShorterAndKeepTheirNumbers) {
  std::atomic<int> asked = 0;
  surprises_ = [&](std::span<const TokenId> tokens) -> Result<std::vector<float>> {
    ++asked;
    return std::vector<float>(tokens.size() - 1, 0.1f);
  };
  StartServer();
  const json whole = Answer(Asking(nullptr))["usage"];
  EXPECT_EQ(asked, 0);
  EXPECT_FALSE(whole["millrace"]["reduction"].contains("pruned_tokens"));
  const json pruned = Answer(Asking({{"prune", 0.1}}))["usage"];
  EXPECT_EQ(asked, 2);  // kept passages
  const json& told = pruned["millrace"]["reduction"];
  ASSERT_EQ(told["kept"].size(), 2u);
  EXPECT_EQ(told["kept"][1]["id"], "d3");
  EXPECT_EQ(told["kept"][1]["number"], 2);
  const int less = told["pruned_tokens"];
  EXPECT_GT(less, 0);
  EXPECT_EQ(whole["prompt_tokens"].get<int>() - less, pruned["prompt_tokens"].get<int>());
  EXPECT_EQ(told["tokens_after"].get<int>() + less,
            whole["millrace"]["reduction"]["tokens_after"].get<int>());
  EXPECT_GT(told["pruning_ms"], 0.0);
  EXPECT_LE(told["pruning_ms"], pruned["millrace"]["reduction_ms"]);
}

// Without a smaller model the served one scores, by requests of its own.
TEST_F(ReductionServerTest, PruningWithoutADraftAsksTheModelItself) {
  ServerConfig config;
  config.reduction.prune_ratio = 0.5;
  StartServer(std::move(config));
  const json told = Answer(Asking(nullptr))["usage"]["millrace"]["reduction"];
  EXPECT_EQ(told["kept"].size(), 2u);
  EXPECT_GT(told["pruned_tokens"], 0);
  // Two passages, and the answer, which is there a little before it is counted.
  for (int i = 0; i < 2000 && engine_->stats().finished < 3; ++i)
    std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(engine_->stats().finished, 3);
}

TEST_F(ReductionServerTest, AutoIsTheDefaultAndTheAnswerTells) {
  row_time_ = std::chrono::microseconds(50);
  StartServer();
  for (int i = 0; i < 4; ++i) Answer(Chat(4));  // so that the price of a prefill token is known
  const json answer = Answer(Asking(nullptr));
  const json& told = answer["usage"]["millrace"]["reduction"];
  EXPECT_EQ(told["mode"], "auto");
  EXPECT_EQ(told["passages"], 12);
  ASSERT_EQ(told["kept"].size(), 2u) << told;  // city3's, and the minimum
  EXPECT_EQ(told["kept"][0]["id"], "d0");
  EXPECT_EQ(told["kept"][0]["why"], "minimum");
  EXPECT_EQ(told["kept"][1]["id"], "d3");
  EXPECT_EQ(told["kept"][1]["why"], "best");
  EXPECT_EQ(told["kept"][1]["number"], 2);
  EXPECT_EQ(told["kept"][1]["document"], 3);
  EXPECT_EQ(told["dropped"], json::object({{"below_cut", 10}}));
  EXPECT_TRUE(answer["choices"][0]["message"]["annotations"].is_array());
  const json& ledger = answer["usage"]["millrace"];
  EXPECT_EQ(ledger["dropped_passages"], 10);
  EXPECT_EQ(ledger["dropped_passage_tokens"],
            told["tokens_before"].get<int>() - told["tokens_after"].get<int>());
  EXPECT_GT(ledger["reduction_ms"], 0.0);
  EXPECT_GT(ledger["reduction_saved_ms"], 0.0);
  // The prompt has shrunk by what was dropped, and the newlines between.
  const json whole = Answer(Asking("off"));
  EXPECT_EQ(
      whole["usage"]["prompt_tokens"].get<int>() - answer["usage"]["prompt_tokens"].get<int>(),
      ledger["dropped_passage_tokens"].get<int>() + 10);
  EXPECT_EQ(whole["usage"]["millrace"]["reduction"]["kept"].size(), 12u);
  EXPECT_EQ(whole["usage"]["millrace"]["reduction"]["kept"][0]["why"], "all");
  EXPECT_EQ(whole["usage"]["millrace"]["dropped_passages"], 0);
  EXPECT_EQ(Sample("millrace:reduction_passages_total"), 24);
  EXPECT_EQ(Sample("millrace:reduction_passages_dropped_total"), 10);
  EXPECT_EQ(Sample("millrace:reduction_tokens_dropped_total"),
            ledger["dropped_passage_tokens"].get<double>());
  EXPECT_EQ(Sample("millrace:reduction_seconds_count"), 2);
}

TEST_F(ReductionServerTest, TheServersSwitchCountsWhereTheRequestSaysNothing) {
  ServerConfig config;
  config.reduction.mode = ReductionMode::kTop;
  config.reduction.most = 3;
  StartServer(std::move(config));
  const auto kept = [&](const json& reduce) {
    return Answer(Asking(reduce))["usage"]["millrace"]["reduction"]["kept"].size();
  };
  EXPECT_EQ(kept(nullptr), 3u);
  EXPECT_EQ(kept("top:5"), 5u);
  EXPECT_EQ(kept("off"), 12u);
  EXPECT_EQ(kept(json::object({{"top", 1}})), 1u);
  json without = Chat(4);
  EXPECT_FALSE(Answer(without)["usage"]["millrace"].contains("reduction"));
}

TEST_F(ReductionServerTest, StreamsTellInTheirLastChunk) {
  StartServer();
  json request = Asking(nullptr);
  request["stream"] = true;
  request["stream_options"] = {{"include_usage", true}};
  const std::vector<std::string> events = EventsOf(Post(kChatPath, request).body);
  ASSERT_GE(events.size(), 3u);
  EXPECT_EQ(events.back(), "[DONE]");
  const json usage = json::parse(events[events.size() - 2])["usage"];
  EXPECT_EQ(usage["millrace"]["reduction"]["kept"].size(), 2u);
}

TEST_F(ReductionServerTest, KeptPassagesStandInOneOrderSoThatPrefixesAreReused) {
  StartServer();
  json request = Asking("top:12");
  const json first = Answer(request);
  request["messages"][0]["content"] = "Who is the mayor of city9?";
  const json second = Answer(request);
  EXPECT_GT(second["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>(),
            second["usage"]["millrace"]["reduction"]["tokens_after"].get<int>() / 2);
}

TEST_F(ReductionServerTest, PassagesAreKeptThatFitTheContext) {
  StartServer();
  json request = Asking("top:12");
  for (json& document : request["documents"])
    document["text"] = document["text"].get<std::string>() + std::string(700, 'x');
  const json told = Answer(request)["usage"]["millrace"]["reduction"];
  EXPECT_LT(told["kept"].size(), 12u);
  EXPECT_GE(told["kept"].size(), 1u);
  EXPECT_GT(told["dropped"]["budget"].get<int>(), 0) << told;
  EXPECT_LT(told["tokens_after"].get<int>(), 2048);
  request["millrace"]["reduce"] = "off";  // nothing may be dropped
  EXPECT_EQ(Post(kChatPath, request).status, 400);
}

TEST_F(ReductionServerTest, PassagesBeginAsTheyDidBefore) {
  StartServer();
  // The named ones of the twelve cities, all kept.
  const auto kept = [&](const std::vector<int>& cities, const std::string& salt) {
    json request = Asking(json::object({{"top", 12}, {"order", "reuse"}}));
    const json all = request["documents"];
    request["documents"] = json::array();
    for (const int city : cities) request["documents"].push_back(all[city]);
    request["cache_salt"] = salt;
    std::vector<std::string> ids;
    const json told = Answer(request)["usage"]["millrace"]["reduction"];
    for (const json& passage : told["kept"]) ids.push_back(passage["id"]);
    return ids;
  };
  EXPECT_THAT(kept({5, 6}, "a"), testing::ElementsAre("d5", "d6"));
  EXPECT_THAT(kept({3, 5, 6}, "a"), testing::ElementsAre("d5", "d6", "d3"));
  EXPECT_THAT(kept({3, 5, 6}, "b"), testing::ElementsAre("d3", "d5", "d6"));
}

TEST_F(ReductionServerTest, SentencesAreEnoughWhereAskedFor) {
  StartServer();
  json request = Asking(json::object({{"sentences", true}}));
  for (json& document : request["documents"])
    document["text"] = document["text"].get<std::string>() + " Rain falls. Ships sail. Cats sleep.";
  const int fewer = Answer(request)["usage"]["millrace"]["reduction"]["tokens_after"].get<int>();
  request["millrace"]["reduce"] = "auto";
  EXPECT_LT(fewer, Answer(request)["usage"]["millrace"]["reduction"]["tokens_after"].get<int>());
}

TEST_F(ReductionServerTest, PoisonedPassagesAreHarmlessOrRefused) {
  StartServer();
  const std::string long_text(1'500, 'x');
  const json hostile[] = {
      json::array({"'; DROP TABLE t; --", "<script>alert(1)</script>", "\" OR NEAR(*) AND (", ""}),
      json::array({json::object({{"id", "a"}, {"text", "twice"}}),
                   json::object({{"id", "a"}, {"text", "twice"}})}),
      json::array({"...!!!???", ",,,,", "\t\n "}), json::array({long_text})};
  for (const json& documents : hostile) {
    for (const char* question : {"\"; DROP TABLE x --", "title: NEAR(a, b) *", "???", "twice"}) {
      json request = Chat(2);
      request["messages"] = json::array({Message("user", question)});
      request["documents"] = documents;
      EXPECT_EQ(Post(kChatPath, request).status, 200) << documents << question;
    }
  }
  json request = Chat(2);
  request["documents"] = json::array({std::string(9'000'000, 'x')});
  EXPECT_EQ(Post(kChatPath, request).status, 413);
  request["documents"] = json::array({std::string(5'000, 'y') + " hello"});
  request["millrace"] = {{"reduce", "off"}};
  const ClientResponse response = Post(kChatPath, request);
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(response.body, HasSubstr("context_length_exceeded"));
  const std::string broken = R"({"messages":[{"role":"user","content":"x"}],"documents":[")" +
                             std::string("\xff\xfe") + R"("]})";
  EXPECT_EQ(TestClient(port()).Post(kChatPath, broken).status, 400);
}

TEST_F(ReductionServerTest, AStoreIsSearched) {
  const std::string path = (std::filesystem::temp_directory_path() /
                            ("millrace-server-store-" + std::to_string(getpid()) + ".db"))
                               .string();
  {
    auto store = PassageStore::Create(path);
    ASSERT_TRUE(store.ok()) << store.error().message;
    std::vector<StoredDocument> documents;
    const json asking = Asking(nullptr);
    for (const json& d : asking["documents"]) documents.push_back({d["id"], "", d["text"]});
    ASSERT_TRUE(store->Add(documents).ok());
  }
  ServerConfig config;
  config.stores["cities"] = path;
  StartServer(std::move(config));
  json request = Asking(nullptr);
  request.erase("documents");
  request["millrace"] = {{"store", "cities"}};
  const json told = Answer(request)["usage"]["millrace"]["reduction"];
  EXPECT_EQ(told["passages"], 12);
  ASSERT_EQ(told["kept"].size(), 2u) << told;
  EXPECT_EQ(told["kept"][1]["id"], "d3");
  EXPECT_EQ(told["kept"][1]["why"], "best");
  request["millrace"]["reduce"] = "off";
  EXPECT_EQ(Answer(request)["usage"]["millrace"]["reduction"]["kept"].size(), 10u);
  request["messages"][0]["content"] = "zebra?";
  EXPECT_EQ(Answer(request)["usage"]["millrace"]["reduction"]["kept"].size(), 0u);
  request["millrace"]["store"] = "none";
  EXPECT_EQ(Post(kChatPath, request).status, 404);
  for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path + end);
}

}  // namespace
}  // namespace millrace
