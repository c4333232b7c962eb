// Passages in requests and answers: what is parsed, where they go, what is told of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "openai_api/citations.h"
#include "openai_api/parsing_test_util.h"
#include "openai_api/reduced_chat.h"
#include "openai_api/response.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

json ADocument() { return {{"id", "d7"}, {"text", "Kelmora is a city."}, {"title", "Kelmora"}}; }

TEST(Passages, AreStringsOrObjects) {
  const ChatRequest chat =
      Chat({{"documents", json::array({ADocument(), "plain text", json::object({{"text", ""}})})}});
  ASSERT_EQ(chat.documents.size(), 3u);
  EXPECT_EQ(chat.documents[0].id, "d7");
  EXPECT_EQ(chat.documents[0].title, "Kelmora");
  EXPECT_EQ(chat.documents[0].text, "Kelmora is a city.");
  EXPECT_EQ(chat.documents[1].text, "plain text");
  EXPECT_EQ(chat.documents[1].id, "");
  EXPECT_FALSE(chat.reduce);
  EXPECT_EQ(chat.question, "hello");
  EXPECT_THAT(chat.template_json, testing::Not(HasSubstr("Kelmora")));
  EXPECT_TRUE(Chat({{"documents", nullptr}}).documents.empty());
  EXPECT_TRUE(Chat({{"documents", json::array()}}).documents.empty());
}

TEST(Passages, TheQuestionIsTheLastUsersMessage) {
  const auto message = [](const char* role, json content) {
    return json{{"role", role}, {"content", std::move(content)}};
  };
  const json part = {{"type", "text"}, {"text", "second"}};
  const json messages =
      json::array({message("user", "first"), message("assistant", "answer"),
                   message("user", json::array({part})), message("assistant", "prefix")});
  EXPECT_EQ(Chat({{"messages", messages}, {"documents", json::array({"x"})}}).question, "second");
}

TEST(Passages, WrongOnesAreRefusedByName) {
  const auto one = [](json document) { return json::array({std::move(document)}); };
  const auto with = [&](const char* name, json value) {
    json document = {{"text", "x"}};
    document[name] = std::move(value);
    return one(document);
  };
  const std::pair<json, const char*> cases[] = {
      {json("text"), "documents"},
      {json::object({{"text", "x"}}), "documents"},
      {one(7), "documents[0]"},
      {json::array({"ok", json::object({{"title", "no text"}})}), "documents[1]"},
      {with("text", 7), "documents[0].text"},
      {with("id", 7), "documents[0].id"},
      {with("title", json::array({"x"})), "documents[0].title"},
      {with("id", std::string(513, 'x')), "documents[0]"},
      {json(10'001, "x"), "documents"}};
  for (const auto& [documents, param] : cases) {
    EXPECT_EQ(ChatError({{"documents", documents}}).param, param) << documents.dump().substr(0, 99);
  }
  EXPECT_EQ(CompletionError({{"documents", json::array({"x"})}}).param, "documents");
}

TEST(Passages, TheSwitch) {
  const auto of = [](const json& value) {
    return Chat({{"millrace", {{"reduce", value}}}}).reduce;
  };
  EXPECT_EQ(of("auto")->mode, ReductionMode::kAuto);
  EXPECT_EQ(of("off")->mode, ReductionMode::kOff);
  EXPECT_EQ(of("top:3")->most, 3u);
  EXPECT_EQ(of(json::object({{"top", 4}}))->mode, ReductionMode::kTop);
  EXPECT_EQ(of(json::object({{"top", 4}}))->most, 4u);
  EXPECT_EQ(of(json::object({{"token_budget", 500}}))->token_budget, 500);
  EXPECT_EQ(of(json::object({{"token_budget", 500}}))->mode, ReductionMode::kAuto);
  EXPECT_EQ(of(json::object({{"order", "relevance"}}))->order, PassageOrder::kRelevance);
  EXPECT_EQ(of(json::object({{"order", "reuse"}}))->order, PassageOrder::kReuse);
  EXPECT_EQ(of(json::object({{"sentences", true}}))->sentence_ratio, 0.5);
  EXPECT_FALSE(of(json::object({{"sentences", false}}))->sentence_ratio);
  EXPECT_EQ(of(json::object({{"prune", 0.25}}))->prune_ratio, 0.25);
  EXPECT_EQ(of(json::object({{"prune", 1}}))->prune_ratio, 1.0);
  EXPECT_FALSE(of("auto")->prune_ratio);
  EXPECT_FALSE(of(nullptr));
  for (const json& wrong :
       {json("on"), json("top:0"), json(3), json(true), json::object({{"top", 0}}),
        json::object({{"top", -1}}), json::object({{"top", 1.5}}), json::object({{"top", 1001}}),
        json::object({{"budget", 1}}), json::object({{"order", "best"}}),
        json::object({{"sentences", 1}}), json::object({{"token_budget", 0}}), json::array({1}),
        json::object({{"prune", 0}}), json::object({{"prune", 1.01}}),
        json::object({{"prune", -0.5}}), json::object({{"prune", true}})}) {
    EXPECT_EQ(ChatError({{"millrace", {{"reduce", wrong}}}}).param, "millrace.reduce") << wrong;
  }
}

TEST(Passages, OrAreSearchedInAStore) {
  const auto own = [](json store) { return json{{"millrace", {{"store", std::move(store)}}}}; };
  EXPECT_EQ(Chat(own("handbook")).store, "handbook");
  EXPECT_EQ(Chat(own(nullptr)).store, "");
  EXPECT_EQ(ChatError(own("")).param, "millrace.store");
  EXPECT_EQ(ChatError(own(7)).param, "millrace.store");
  json both = own("handbook");
  both["documents"] = json::array({"x"});
  EXPECT_EQ(ChatError(both).param, "millrace.store");
}

std::vector<JudgedPassage> TwoPassages() {
  return {{{"a", "", "One.", 0, 0}, 2.5, PassageFate::kBest, 5},
          {{"b", "Two", "Second.", 3, 40}, 2.0, PassageFate::kScore, 7}};
}

TEST(Passages, StandBehindTheSystemMessage) {
  const auto messages = [](const json& chat) {
    const auto with = ChatWithPassages(chat.dump(), TwoPassages(), PassagePlace::kSystemMessage);
    return json::parse(*with)["messages"];
  };
  const json& user = kUser;
  const json system = {{"role", "system"}, {"content", "Be brief."}};
  const json both = messages({{"messages", json::array({system, user})}});
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0]["content"], "Be brief.\n\n[1] One.\n[2] Two: Second.");
  EXPECT_EQ(both[1], user);
  const json alone = messages({{"messages", json::array({user})}});
  ASSERT_EQ(alone.size(), 2u);
  EXPECT_EQ(alone[0]["role"], "system");
  EXPECT_EQ(alone[0]["content"], "[1] One.\n[2] Two: Second.");
}

TEST(Passages, OrWhereTheTemplateWantsThem) {
  const json chat = {{"messages", json::array({kUser})}};
  const json with =
      json::parse(*ChatWithPassages(chat.dump(), TwoPassages(), PassagePlace::kTemplate));
  EXPECT_EQ(with["messages"], chat["messages"]);
  ASSERT_EQ(with["documents"].size(), 2u);
  EXPECT_EQ(with["documents"][1], (json{{"doc_id", 2}, {"title", "Two"}, {"text", "Second."}}));
  EXPECT_EQ(*ChatWithPassages(chat.dump(), {}, PassagePlace::kTemplate), chat.dump());
}

std::vector<std::array<int64_t, 3>> CitationsIn(const std::vector<std::string>& pieces) {
  CitationFinder finder(3);
  std::vector<std::array<int64_t, 3>> found;
  for (const std::string& piece : pieces) {
    for (const Citation& c : finder.Take(piece))
      found.push_back({static_cast<int64_t>(c.number), c.begin, c.end});
  }
  return found;
}

TEST(Citations, AreNumbersInBracketsWherePassagesHaveThem) {
  using All = std::vector<std::array<int64_t, 3>>;
  EXPECT_EQ(CitationsIn({"It is so. [2]"}), (All{{2, 10, 13}}));
  EXPECT_EQ(CitationsIn({"é[1][3]"}), (All{{1, 1, 4}, {3, 4, 7}}));
  EXPECT_EQ(CitationsIn({"[1, 3]"}), (All{{1, 0, 6}, {3, 0, 6}}));
  EXPECT_EQ(CitationsIn({"[ 2]"}), (All{{2, 0, 4}}));
  EXPECT_EQ(CitationsIn({"[[2]"}), (All{{2, 1, 4}}));
  for (const char* none : {"[0]", "[4]", "[x]", "[]", "[1", "1]", "[1 2]", "[1,]", "[-1]", "(1)",
                           "[99999999999999999999999]"}) {
    EXPECT_EQ(CitationsIn({none}), All()) << none;
  }
}

TEST(Citations, DoNotDependOnThePieces) {
  const std::string text = "Ünder [1, 2] and [3] or [12] or [2]";
  const auto whole = CitationsIn({text});
  EXPECT_EQ(whole.size(), 4u);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(CitationsIn({text.substr(0, cut), text.substr(cut)}), whole) << cut;
  }
}

ResponseHead HeadWithPassages() {
  auto report = std::make_shared<ReductionReport>();
  report->mode = "auto";
  report->reduced.kept = TwoPassages();
  report->reduced.fate[static_cast<size_t>(PassageFate::kBest)] = 1;
  report->reduced.fate[static_cast<size_t>(PassageFate::kScore)] = 1;
  report->reduced.fate[static_cast<size_t>(PassageFate::kBelowCut)] = 5;
  report->reduced.tokens_before = 90;
  report->reduced.tokens_after = 12;
  report->reduced.best_dropped = 1.5;
  report->reduced.margin = 0.2;
  ResponseHead head;
  head.reduction = std::move(report);
  return head;
}

TEST(PassagesInAnswers, UsageTellsWhatWasKeptAndWhatNot) {
  const json usage = json::parse(UsageChunk(HeadWithPassages(), Usage()))["usage"];
  const json& told = usage["millrace"]["reduction"];
  EXPECT_EQ(told["mode"], "auto");
  EXPECT_EQ(told["passages"], 7);
  ASSERT_EQ(told["kept"].size(), 2u);
  EXPECT_EQ(told["kept"][1], (json{{"number", 2},
                                   {"id", "b"},
                                   {"document", 3},
                                   {"begin", 40},
                                   {"score", 2.0},
                                   {"why", "score"},
                                   {"tokens", 7}}));
  EXPECT_EQ(told["dropped"], json::object({{"below_cut", 5}}));
  EXPECT_EQ(told["tokens_before"], 90);
  EXPECT_EQ(told["tokens_after"], 12);
  EXPECT_EQ(told["margin"], 0.2);
  EXPECT_FALSE(
      json::parse(UsageChunk(ResponseHead(), Usage()))["usage"]["millrace"].contains("reduction"));
}

TEST(PassagesInAnswers, AnnotationsNameWhatIsCited) {
  ChoiceText choice;
  choice.text = "So. [2]";
  choice.finish_reason = "stop";
  choice.citations = {{2, 4, 7}};
  const json whole = json::parse(WholeResponse(HeadWithPassages(), {&choice, 1}, Usage()));
  const json annotations = whole["choices"][0]["message"]["annotations"];
  ASSERT_EQ(annotations.size(), 1u);
  EXPECT_EQ(annotations[0]["type"], "file_citation");
  EXPECT_EQ(annotations[0]["file_citation"], (json{{"start_index", 4},
                                                   {"end_index", 7},
                                                   {"number", 2},
                                                   {"file_id", "b"},
                                                   {"filename", "Two"},
                                                   {"index", 3}}));
  EXPECT_EQ(
      json::parse(TextChunk(HeadWithPassages(), choice))["choices"][0]["delta"]["annotations"],
      annotations);
  const json plain = json::parse(WholeResponse(ResponseHead(), {&choice, 1}, Usage()));
  EXPECT_FALSE(plain["choices"][0]["message"].contains("annotations"));
}

}  // namespace
}  // namespace millrace
