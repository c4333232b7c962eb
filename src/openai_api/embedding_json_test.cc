#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "openai_api/embedding_requests.h"
#include "openai_api/embedding_response.h"

namespace millrace {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

EmbeddingsRequest ParsedEmbeddings(std::string_view body) {
  auto parsed = ParseEmbeddingsRequest(body, UnknownFields::kRefuse);
  const auto* error = std::get_if<ApiError>(&parsed);
  EXPECT_EQ(error, nullptr) << error->message;
  return error == nullptr ? std::get<EmbeddingsRequest>(std::move(parsed)) : EmbeddingsRequest();
}

RerankRequest ParsedRerank(std::string_view body) {
  auto parsed = ParseRerankRequest(body, UnknownFields::kRefuse);
  const auto* error = std::get_if<ApiError>(&parsed);
  EXPECT_EQ(error, nullptr) << error->message;
  return error == nullptr ? std::get<RerankRequest>(std::move(parsed)) : RerankRequest();
}

// The field at fault and the message.
template <class T>
std::pair<std::string, std::string> Refusal(const ApiResult<T>& result) {
  const auto* error = std::get_if<ApiError>(&result);
  return error == nullptr ? std::pair<std::string, std::string>()
                          : std::pair(error->param, error->message);
}

TEST(EmbeddingsRequest, TakesEveryFormOfInput) {
  EmbeddingsRequest r = ParsedEmbeddings(R"({"model": "m", "input": "a text", "user": "u"})");
  EXPECT_EQ(r.model, "m");
  EXPECT_THAT(r.inputs, ElementsAre(Prompt("a text")));
  EXPECT_EQ(r.format, EmbeddingFormat::kFloat);
  EXPECT_FALSE(r.dimensions);
  r = ParsedEmbeddings(R"({"input": ["a", ""], "encoding_format": "base64", "dimensions": 12})");
  EXPECT_THAT(r.inputs, ElementsAre(Prompt("a"), Prompt("")));
  EXPECT_EQ(r.format, EmbeddingFormat::kBase64);
  EXPECT_EQ(r.dimensions, 12);
  EXPECT_THAT(ParsedEmbeddings(R"({"input": [5, 6]})").inputs,
              ElementsAre(Prompt(std::vector{TokenId(5), TokenId(6)})));
  EXPECT_THAT(ParsedEmbeddings(R"({"input": [[5], "b"]})").inputs,
              ElementsAre(Prompt(std::vector{TokenId(5)}), Prompt("b")));
}

TEST(EmbeddingsRequest, RefusesWhatIsWrongByName) {
  const auto refusal = [](std::string_view body) {
    return Refusal(ParseEmbeddingsRequest(body, UnknownFields::kRefuse));
  };
  EXPECT_EQ(refusal(R"({"model": "m"})").first, "input");
  for (const char* input : {"[]", "5", "{}", "[1.5]", "[-1]", "[[]]", "[null]", "[true]"}) {
    EXPECT_EQ(refusal(R"({"input": )" + std::string(input) + "}").first, "input") << input;
  }
  std::string many = R"({"input": ["a")";
  for (size_t i = 0; i < kMaxEmbeddingInputs; ++i) many += R"(,"a")";
  EXPECT_THAT(refusal(many + "]}").second, HasSubstr("2049 inputs are more than 2048"));
  EXPECT_EQ(refusal(R"({"input": "a", "encoding_format": "hex"})").first, "encoding_format");
  EXPECT_EQ(refusal(R"({"input": "a", "dimensions": 0})").first, "dimensions");
  EXPECT_EQ(refusal(R"({"input": "a", "dimension": 5})").first, "dimension");
  EXPECT_NE(refusal("nonsense").second, "");
}

TEST(RerankRequest, TakesDocumentsAsStringsAndObjects) {
  const RerankRequest r = ParsedRerank(
      R"({"query": "q", "documents": ["one", {"text": "two", "title": "t"}], "top_n": 1,
          "return_documents": true, "raw_scores": true})");
  EXPECT_EQ(r.query, "q");
  EXPECT_THAT(r.documents, ElementsAre("one", "two"));
  EXPECT_EQ(r.top_n, 1);
  EXPECT_TRUE(r.return_documents);
  EXPECT_TRUE(r.raw_scores);
  EXPECT_FALSE(ParsedRerank(R"({"query": "q", "documents": ["a"]})").return_documents);
}

TEST(RerankRequest, RefusesWhatIsWrongByName) {
  const auto refusal = [](std::string_view body) {
    return Refusal(ParseRerankRequest(body, UnknownFields::kIgnore));
  };
  EXPECT_EQ(refusal(R"({"documents": ["a"]})").first, "query");
  for (const char* documents : {"[]", "\"a\"", "[1]", "[{}]", R"([{"text": 1}])"}) {
    EXPECT_EQ(refusal(R"({"query": "q", "documents": )" + std::string(documents) + "}").first,
              "documents")
        << documents;
  }
  EXPECT_EQ(refusal(R"({"query": "q", "documents": ["a"], "top_n": 0})").first, "top_n");
}

const float kVectors[] = {0.6f, -0.8f, 0.0f, 1.0f, 0.0f, 1e-30f};
const MatrixView<const float> kTwoOfThree{kVectors, 2, 3, 3};

TEST(EmbeddingsJson, NumbersMakeTheSameFloatsAgain) {
  const json body =
      json::parse(EmbeddingsJson("a \"model\"", kTwoOfThree, EmbeddingFormat::kFloat, 7));
  EXPECT_EQ(body["object"], "list");
  EXPECT_EQ(body["model"], "a \"model\"");
  EXPECT_EQ(body["usage"], json::parse(R"({"prompt_tokens": 7, "total_tokens": 7})"));
  ASSERT_EQ(body["data"].size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(body["data"][i]["object"], "embedding");
    EXPECT_EQ(body["data"][i]["index"], i);
    for (size_t j = 0; j < 3; ++j) {
      EXPECT_EQ(body["data"][i]["embedding"][j].get<float>(), kVectors[3 * i + j]);
    }
  }
}

// 0.6f is 0x3f19999a, -0.8f 0xbf4ccccd, 0 is 0: the bytes 9a 99 19 3f cd cc 4c bf 00 00 00 00.
TEST(EmbeddingsJson, Base64IsOfLittleEndianFloats) {
  const json body = json::parse(EmbeddingsJson("m", kTwoOfThree, EmbeddingFormat::kBase64, 7));
  EXPECT_EQ(body["data"][0]["embedding"], "mpkZP83MTL8AAAAA");
}

TEST(EmbeddingsJson, Base64OfTheStandardsExamples) {
  const auto encoded = [](std::string_view text) {
    return openai_internal::Base64(
        {reinterpret_cast<const unsigned char*>(text.data()), text.size()});
  };
  EXPECT_EQ(encoded(""), "");
  EXPECT_EQ(encoded("f"), "Zg==");
  EXPECT_EQ(encoded("fo"), "Zm8=");
  EXPECT_EQ(encoded("foo"), "Zm9v");
  EXPECT_EQ(encoded("foob"), "Zm9vYg==");
  EXPECT_EQ(encoded("fooba"), "Zm9vYmE=");
  EXPECT_EQ(encoded("foobar"), "Zm9vYmFy");
}

TEST(Shortened, KeepsTheFirstAndScalesToLengthOne) {
  EXPECT_THAT(Shortened(kTwoOfThree, 1), ElementsAre(1.0f, 1.0f));
  EXPECT_THAT(Shortened({kVectors + 1, 1, 2, 2}, 2), ElementsAre(-1.0f, 0.0f));
  EXPECT_THAT(Shortened({kVectors + 2, 1, 1, 1}, 1), ElementsAre(0.0f));  // no direction
}

TEST(RerankJson, BestFirstEqualsInOrder) {
  RerankRequest request = ParsedRerank(R"({"query": "q", "documents": ["a", "b", "c", "d"]})");
  const float scores[] = {0.0f, 2.0f, NAN, 2.0f};
  json body = json::parse(RerankJson("m", request, scores, 9));
  EXPECT_EQ(body["model"], "m");
  EXPECT_EQ(body["usage"]["total_tokens"], 9);
  std::vector<int> order;
  for (const json& result : body["results"]) order.push_back(result["index"]);
  EXPECT_THAT(order, ElementsAre(1, 3, 0, 2));
  EXPECT_NEAR(body["results"][0]["relevance_score"].get<double>(), 1 / (1 + std::exp(-2.0)), 1e-9);
  EXPECT_EQ(body["results"][2]["relevance_score"], 0.5);
  EXPECT_FALSE(body["results"][0].contains("document"));
  request.top_n = 2;
  request.return_documents = request.raw_scores = true;
  body = json::parse(RerankJson("m", request, scores, 9));
  ASSERT_EQ(body["results"].size(), 2u);
  EXPECT_EQ(body["results"][1],
            json::parse(R"({"index": 3, "relevance_score": 2.0, "document": {"text": "d"}})"));
}

}  // namespace
}  // namespace millrace
