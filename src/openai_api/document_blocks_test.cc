// Documents and search results in /v1/messages: what the chat gets of them, what an answer that
// cites them looks like, whole and in pieces.
#include "openai_api/document_blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "openai_api/answer_format.h"
#include "openai_api/parsing_test_util.h"
#include "openai_api/translated_chat.h"

namespace millrace {
namespace {

using testing::HasSubstr;

json TextBlock(const char* text) { return {{"type", "text"}, {"text", text}}; }
json Plain(const char* text, const char* title = nullptr, bool cited = true) {
  json block = {{"type", "document"},
                {"source", {{"type", "text"}, {"media_type", "text/plain"}, {"data", text}}},
                {"citations", {{"enabled", cited}}}};
  if (title != nullptr) block["title"] = title;
  return block;
}
json Custom(json blocks) {
  return {{"type", "document"},
          {"source", {{"type", "content"}, {"content", std::move(blocks)}}},
          {"citations", {{"enabled", true}}}};
}
json SearchResult(json blocks) {
  return {{"type", "search_result"},
          {"source", "https://a.example/b"},
          {"title", "B"},
          {"content", std::move(blocks)},
          {"citations", {{"enabled", true}}}};
}
json Body(json content, json more = json::object()) {
  json body = {{"max_tokens", 5},
               {"messages", json::array({{{"role", "user"}, {"content", std::move(content)}}})}};
  body.update(more);
  return body;
}

class DocumentBlocks : public testing::Test {
 protected:
  void Take(const json& body) {
    auto parsed = ParseMessagesRequest(body.dump(), UnknownFields::kRefuse);
    if (const auto* error = std::get_if<ApiError>(&parsed)) FAIL() << body << error->message;
    request_ = std::move(std::get<TranslatedChat>(parsed));
    // All of them are in the prompt, whole, as they were given.
    auto report = std::make_shared<ReductionReport>();
    for (size_t i = 0; i < request_.chat.documents.size(); ++i) {
      JudgedPassage& kept = report->reduced.kept.emplace_back();
      kept.passage.document = i;
      kept.bytes = request_.chat.documents[i].text.size();
    }
    report_ = report;
  }
  // The passage that [1] names is so much of its document.
  void KeepOnly(size_t document, size_t begin, size_t bytes) {
    auto report = std::make_shared<ReductionReport>();
    JudgedPassage& kept = report->reduced.kept.emplace_back();
    kept.passage.document = document;
    kept.passage.begin = begin;
    kept.bytes = bytes;
    report_ = report;
  }
  ResponseHead Head() const {
    ResponseHead head;
    head.reduction = report_;
    return head;
  }
  ChoiceText Choice(const std::string& text, CitationFinder& finder) const {
    ChoiceText choice;
    choice.text = text;
    choice.citations = finder.Take(text);
    return choice;
  }
  json Whole(const std::string& text) {
    CitationFinder finder(report_->reduced.kept.size());
    const ChoiceText choice = Choice(text, finder);
    return json::parse(request_.format->Whole(Head(), {&choice, 1}, Usage()))["content"];
  }
  // What the events of a stream add up to, as Anthropic's clients add them up.
  json Streamed(const std::string& text, size_t step) {
    CitationFinder finder(report_->reduced.kept.size());
    json content = json::array();
    const auto take = [&](const std::vector<StreamEvent>& events) {
      for (const StreamEvent& event : events) {
        const json data = json::parse(event.data);
        if (event.name == "content_block_start") content.push_back(data["content_block"]);
        if (event.name != "content_block_delta") continue;
        EXPECT_EQ(data["index"], content.size() - 1);
        json& block = content.back();
        if (data["delta"]["type"] == "text_delta") {
          block["text"] =
              block["text"].get<std::string>() + data["delta"]["text"].get<std::string>();
        } else {
          EXPECT_EQ(data["delta"]["type"], "citations_delta");
          block["citations"].push_back(data["delta"]["citation"]);
        }
      }
    };
    take(request_.format->Begin(Head(), 1, Usage()));
    for (size_t at = 0; at < text.size(); at += step) {
      take(request_.format->Delta(Head(), Choice(text.substr(at, step), finder)));
    }
    take(request_.format->End(Head(), Usage()));
    return content;
  }

  TranslatedChat request_;
  std::shared_ptr<const ReductionReport> report_;
};

TEST_F(DocumentBlocks, AreTheChatsDocuments) {
  const json blocks = json::array({TextBlock("One."), TextBlock("Two.")});
  Take(
      Body(json::array({Plain("The mill is red.", "Mills"), Custom("As a string."), Custom(blocks),
                        TextBlock("The mill:"), SearchResult(blocks), TextBlock("what colour?")})));
  const auto& documents = request_.chat.documents;
  ASSERT_EQ(documents.size(), 4u);
  EXPECT_EQ(documents[0].text, "The mill is red.");
  EXPECT_EQ(documents[0].title, "Mills");
  EXPECT_EQ(documents[1].text, "As a string.");
  EXPECT_EQ(documents[2].text, "One.\nTwo.");
  EXPECT_EQ(documents[3].title, "B");
  EXPECT_EQ(request_.chat.question, "The mill:\nwhat colour?");
  const json chat = json::parse(request_.chat.template_json);
  ASSERT_EQ(chat["messages"].size(), 1u);
  EXPECT_EQ(chat["messages"][0]["content"], "The mill:\nwhat colour?");
  EXPECT_FALSE(chat.contains("documents"));
}

// A passage's place in its book, say: read by the model, never cited.
TEST_F(DocumentBlocks, ContextStandsBesideTheTitle) {
  json titled = Plain("The mill is red.", "Mills"), bare = Plain("The mill is blue.");
  titled["context"] = bare["context"] = "From 1820";
  Take(Body(json::array({titled, bare, TextBlock("What colour?")})));
  ASSERT_EQ(request_.chat.documents.size(), 2u);
  EXPECT_EQ(request_.chat.documents[0].title, "Mills: From 1820");
  EXPECT_EQ(request_.chat.documents[1].title, "From 1820");
  const json content = Whole("It is red [1].");
  EXPECT_EQ(content[0]["citations"][0]["document_title"], "Mills");
}

TEST_F(DocumentBlocks, OfATurnBeforeCountAsWell) {
  json body = Body(json::array({Plain("The mill is red.")}));
  body["messages"].push_back({{"role", "assistant"}, {"content", "Ask."}});
  body["messages"].push_back({{"role", "user"}, {"content", "What colour?"}});
  Take(body);
  EXPECT_EQ(request_.chat.documents.size(), 1u);
  EXPECT_EQ(request_.chat.question, "What colour?");
  EXPECT_EQ(json::parse(request_.chat.template_json)["messages"].size(), 3u);
}

TEST_F(DocumentBlocks, InAToolsResultAreItsText) {
  json body = Body("What colour?");
  body["messages"].push_back(
      {{"role", "assistant"},
       {"content",
        json::array(
            {{{"type", "tool_use"}, {"id", "t"}, {"name", "f"}, {"input", json::object()}}})}});
  body["messages"].push_back(
      {{"role", "user"},
       {"content", json::array({{{"type", "tool_result"},
                                 {"tool_use_id", "t"},
                                 {"content", json::array({SearchResult(
                                                 json::array({TextBlock("It is red.")}))})}}})}});
  Take(body);
  EXPECT_TRUE(request_.chat.documents.empty());
  EXPECT_EQ(json::parse(request_.chat.template_json)["messages"][2]["content"], "B: It is red.");
}

TEST_F(DocumentBlocks, WhatIsNoTextIsRefusedByItsPlace) {
  const auto error = [](const json& block) {
    return ErrorOf(ParseMessagesRequest(Body(json::array({TextBlock("x"), block})).dump(),
                                        UnknownFields::kIgnore),
                   block.dump());
  };
  const std::string at = "messages[0].content[1]";
  for (const char* type : {"base64", "url", "file"}) {
    const ApiError refused = error({{"type", "document"}, {"source", {{"type", type}}}});
    EXPECT_EQ(refused.param, at + ".source");
    EXPECT_THAT(refused.message, HasSubstr("text only"));
  }
  EXPECT_EQ(error({{"type", "document"}}).param, at + ".source");
  EXPECT_EQ(error({{"type", "document"}, {"source", {{"type", "text"}, {"data", 5}}}}).param,
            at + ".source");
  EXPECT_EQ(error(Custom(json::array({TextBlock("a"), {{"type", "image"}}}))).param,
            at + ".source.content[1]");
  EXPECT_EQ(error(Custom(nullptr)).param, at + ".source.content");
  EXPECT_EQ(error({{"type", "search_result"}, {"content", json::array()}}).param, at);
  json titled = Plain("x");
  titled["title"] = 7;
  EXPECT_EQ(error(titled).param, at + ".title");
  titled["title"] = std::string(kMaxDocumentTitle + 1, 'x');
  EXPECT_EQ(error(titled).param, at + ".title");
  json long_head = Plain("x", "Mills");
  long_head["context"] = std::string(kMaxDocumentTitle - 7, 'x');
  EXPECT_TRUE(std::holds_alternative<TranslatedChat>(ParseMessagesRequest(
      Body(json::array({TextBlock("x"), long_head})).dump(), UnknownFields::kIgnore)));
  for (const json& wrong :
       {json(7), json::array(), json(std::string(kMaxDocumentTitle - 6, 'x'))}) {
    long_head["context"] = wrong;
    EXPECT_EQ(error(long_head).param, at + ".context");
  }
  json many = json::array();
  for (size_t i = 0; i <= kMaxDocuments; ++i) many.push_back(Plain("x"));
  const std::string last = "messages[0].content[" + std::to_string(kMaxDocuments) + "]";
  EXPECT_EQ(ErrorOf(ParseMessagesRequest(Body(many).dump(), UnknownFields::kIgnore), "many").param,
            last);
  const json both = Body(json::array({Plain("x")}), {{"documents", {"y"}}});
  EXPECT_EQ(ErrorOf(ParseMessagesRequest(both.dump(), UnknownFields::kIgnore), "both").param,
            "documents");
  const json assistants = {
      {"max_tokens", 5}, {"messages", {kUser, {{"role", "assistant"}, {"content", {Plain("x")}}}}}};
  EXPECT_EQ(ErrorOf(ParseMessagesRequest(assistants.dump(), UnknownFields::kIgnore), "role").param,
            "messages[1].content[0]");
}

TEST_F(DocumentBlocks, AreCitedBehindWhatTheySay) {
  const json blocks = json::array({TextBlock("One."), TextBlock("Two.")});
  Take(Body(json::array({Plain("The müll is red.", "Mills"), SearchResult(blocks), Custom(blocks),
                         Plain("Nothing.", "Silent", false), TextBlock("?")})));
  const std::string answer = "Ärot [1]. Two [2, 3] of [4] it [9].";
  const json content = Whole(answer);
  ASSERT_EQ(content.size(), 3u) << content;
  EXPECT_EQ(content[0]["text"], "Ärot [1]");
  EXPECT_EQ(content[1]["text"], ". Two [2, 3]");
  EXPECT_EQ(content[2], TextBlock(" of [4] it [9]."));
  EXPECT_EQ(content[0]["citations"], json::array({{{"type", "char_location"},
                                                   {"cited_text", "The müll is red."},
                                                   {"document_index", 0},
                                                   {"document_title", "Mills"},
                                                   {"start_char_index", 0},
                                                   {"end_char_index", 16},
                                                   {"file_id", nullptr}}}));
  EXPECT_EQ(content[1]["citations"], json::array({{{"type", "search_result_location"},
                                                   {"cited_text", "One.\nTwo."},
                                                   {"search_result_index", 0},
                                                   {"source", "https://a.example/b"},
                                                   {"title", "B"},
                                                   {"start_block_index", 0},
                                                   {"end_block_index", 2}},
                                                  {{"type", "content_block_location"},
                                                   {"cited_text", "One.\nTwo."},
                                                   {"document_index", 1},
                                                   {"document_title", nullptr},
                                                   {"start_block_index", 0},
                                                   {"end_block_index", 2},
                                                   {"file_id", nullptr}}}));
  for (const size_t step : {1u, 2u, 3u, 7u, 100u}) {
    Take(Body(json::array({Plain("The müll is red.", "Mills"), SearchResult(blocks), Custom(blocks),
                           Plain("Nothing.", "Silent", false), TextBlock("?")})));
    // (Pieces of text between which a character is cut are told as they are: not here.)
    std::string plain = answer;
    plain.replace(0, 2, "A");
    json expected = content;
    expected[0]["text"] = "Arot [1]";
    EXPECT_EQ(Streamed(plain, step), expected) << step;
  }
}

TEST_F(DocumentBlocks, APassageIsCitedWhereItStands) {
  Take(Body(json::array({Plain("ä. The mill is red. b."), TextBlock("?")})));
  KeepOnly(0, 4, 16);
  const json citation = Whole("Red [1].")[0]["citations"][0];
  EXPECT_EQ(citation["cited_text"], "The mill is red.");
  EXPECT_EQ(citation["start_char_index"], 3);
  EXPECT_EQ(citation["end_char_index"], 19);
  EXPECT_EQ(citation["document_title"], nullptr);
  Take(Body(
      json::array({Custom(json::array({TextBlock("One."), TextBlock("Two."), TextBlock("Three.")})),
                   TextBlock("?")})));
  KeepOnly(0, 6, 2);  // within the second
  json block = Whole("[1]")[0]["citations"][0];
  EXPECT_EQ(block["start_block_index"], 1);
  EXPECT_EQ(block["end_block_index"], 2);
  EXPECT_EQ(block["cited_text"], "wo");
  // One without text, and a passage that is from elsewhere.
  Take(Body(json::array({Custom(json::array()), TextBlock("?")})));
  block = Whole("[1]")[0]["citations"][0];
  EXPECT_EQ(block["cited_text"], "");
  KeepOnly(7, 0, 1);
  EXPECT_EQ(Whole("[1]"), json::array({TextBlock("[1]")}));
  // One that is cited again and again.
  Take(Body(json::array({Plain(std::string(1 << 20, 'x').c_str()), TextBlock("?")})));
  const json often = Whole("[1][1, 1][1][1][1]");
  ASSERT_EQ(often.size(), 4u);
  EXPECT_EQ(often[1]["citations"].size(), 2u);
  EXPECT_EQ(often[3], TextBlock("[1][1]"));
}

}  // namespace
}  // namespace millrace
