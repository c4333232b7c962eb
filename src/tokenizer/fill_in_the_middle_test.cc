// Which models can fill in the middle, and that a stream goes on where its prompt ended.
#include <gtest/gtest.h>

#include "tokenizer/text_stream.h"
#include "tokenizer/tokenizer_test_vocabulary.h"

namespace millrace {
namespace {

constexpr int32_t kControl = 3, kNormal = 1;

TEST(FillInTheMiddle, IsFoundByTextOrByDeclaredId) {
  TestVocabulary v = BytePairVocabulary();  // ids 0 to 267
  EXPECT_FALSE(v.Load()->fill_in_the_middle());
  v.Add("<|fim_prefix|>", kControl);  // 268
  v.Add("<|fim_middle|>", kControl);
  EXPECT_FALSE(v.Load()->fill_in_the_middle()) << "two of three";
  v.Add("<|fim_suffix|>", kControl);
  const auto by_text = v.Load()->fill_in_the_middle();
  ASSERT_TRUE(by_text);
  EXPECT_EQ(by_text->prefix, TokenId(268));
  EXPECT_EQ(by_text->middle, TokenId(269));
  EXPECT_EQ(by_text->suffix, TokenId(270));
  v.extra.AddU32("tokenizer.ggml.fim_pre_token_id", 1);
  v.extra.AddU32("tokenizer.ggml.suffix_token_id", 2);     // the older name
  v.extra.AddU32("tokenizer.ggml.fim_mid_token_id", ~0u);  // none: so by its text
  const auto declared = v.Load()->fill_in_the_middle();
  ASSERT_TRUE(declared);
  EXPECT_EQ(declared->prefix, TokenId(1));
  EXPECT_EQ(declared->suffix, TokenId(2));
  EXPECT_EQ(declared->middle, TokenId(269));
}

TEST(FillInTheMiddle, AWordIsNoSuchToken) {
  TestVocabulary v = BytePairVocabulary();
  for (const char* text : {"<PRE>", "<SUF>", "<MID>"}) v.Add(text, kNormal);
  EXPECT_FALSE(v.Load()->fill_in_the_middle());
}

TEST(FillInTheMiddle, AnIdOutsideTheVocabularyIsAnError) {
  TestVocabulary v = BytePairVocabulary();
  v.extra.AddU32("tokenizer.ggml.fim_pre_token_id", 5000);
  const auto loaded = v.Load();
  ASSERT_FALSE(loaded.ok());
  EXPECT_NE(loaded.error().message.find("fim_pre_token_id"), std::string::npos);
}

TEST(FillInTheMiddle, AStreamBehindAPromptKeepsTheSpaceBetweenThem) {
  const Tokenizer tokenizer = std::move(SentencePieceVocabulary().Load()).value();
  const TokenId space_a(259), a(263);  // "▁a", "a"
  TextStream fresh(tokenizer, {}), behind(tokenizer, {}), behind_special(tokenizer, {});
  EXPECT_EQ(fresh.Append(space_a), "a");  // the space that encoding put before the text
  behind.GoOnBehind(std::vector{space_a, a});
  EXPECT_EQ(behind.Append(space_a), " a");
  behind_special.GoOnBehind(std::vector{a, TokenId(1)});  // <s>
  EXPECT_EQ(behind_special.Append(space_a), "a");
}

}  // namespace
}  // namespace millrace
