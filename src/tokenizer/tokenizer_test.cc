// The shared vocabularies: ids equal llama.cpp's for every text, and decode back.
#include "tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gguf/gguf.h"
#include "tests/test_paths.h"
#include "tokenizer/text_stream.h"

namespace millrace {
namespace {

class SharedVocabulary : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string base = SharedDir() + "/fixtures/tokenizers/" + GetParam();
    if (!std::filesystem::exists(base + ".gguf")) {
      GTEST_SKIP() << "the shared fixtures are absent";
    }
    auto mapped = MappedGguf::Open(base + ".gguf");
    ASSERT_TRUE(mapped.ok()) << mapped.error().message;
    auto tokenizer = Tokenizer::FromGguf(mapped->file());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    tokenizer_.emplace(std::move(tokenizer).value());
    std::ifstream(base + ".json") >> cases_;
    ASSERT_GE(cases_.size(), 60u);
  }
  static std::vector<TokenId> IdsOf(const nlohmann::json& test) {
    std::vector<TokenId> ids;
    for (const auto& id : test["ids"]) ids.push_back(TokenId(id.get<int32_t>()));
    return ids;
  }

  std::optional<Tokenizer> tokenizer_;
  nlohmann::json cases_;
};

TEST_P(SharedVocabulary, EncodesAsLlamaCpp) {
  for (const auto& test : cases_) {
    const auto text = test["text"].get<std::string>();
    EXPECT_EQ(tokenizer_->Encode(text, SpecialTokens::kAsText), IdsOf(test)) << test["text"];
  }
}

TEST_P(SharedVocabulary, DecodesToTheText) {
  for (const auto& test : cases_) {
    const auto text = test["text"].get<std::string>();
    const std::vector<TokenId> ids = IdsOf(test);
    EXPECT_EQ(tokenizer_->Decode(ids), text);
    TextStream stream(*tokenizer_, {});
    std::string streamed;
    for (TokenId id : ids) streamed += stream.Append(id);
    EXPECT_EQ(streamed + stream.Finish(), text);
  }
}

INSTANTIATE_TEST_SUITE_P(All, SharedVocabulary,
                         testing::Values("gpt-2", "llama-bpe", "llama-spm", "qwen2"));

}  // namespace
}  // namespace millrace
