// The tokenizer's rules on small vocabularies that the test writes itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <thread>

#include "base/rng.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_test_vocabulary.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<int32_t> Encode(const Tokenizer& tokenizer, std::string_view text,
                            SpecialTokens special = SpecialTokens::kAsText) {
  std::vector<int32_t> ids;
  for (TokenId id : tokenizer.Encode(text, special)) ids.push_back(id.value);
  return ids;
}

TEST(BytePair, MergesByRank) {
  const Tokenizer tokenizer = LoadOrDie(BytePairVocabulary());
  EXPECT_THAT(Encode(tokenizer, "hello"), ElementsAre(259));
  EXPECT_THAT(Encode(tokenizer, " hello hello"), ElementsAre(260, 260));
  EXPECT_THAT(Encode(tokenizer, "hell"), ElementsAre(258));
  EXPECT_THAT(Encode(tokenizer, "aaaaaaa"), ElementsAre(262, 261, 'a'));
  EXPECT_THAT(Encode(tokenizer, ""), ElementsAre());
}

TEST(BytePair, SpecialTokensOnlyWhereTheyAreParsed) {
  const Tokenizer tokenizer = LoadOrDie(BytePairVocabulary());
  EXPECT_THAT(Encode(tokenizer, "<|im_end|>hello", SpecialTokens::kParse), ElementsAre(264, 259));
  EXPECT_EQ(Encode(tokenizer, "<|im_end|>hello").size(), 11u);  // ten bytes, one word
  EXPECT_THAT(Encode(tokenizer, "hello<tool>hello"), ElementsAre(259, 265, 259));
  EXPECT_THAT(Encode(tokenizer, "<tool><tool><tool>"), ElementsAre(266, 265));
}

TEST(BytePair, DecodesWhatItEncodes) {
  const Tokenizer tokenizer = LoadOrDie(BytePairVocabulary());
  for (uint64_t i = 0; i < 2000; ++i) {
    CounterRng rng(7, i);
    constexpr std::string_view kParts[] = {"hello",        " ",      "a",          "\n",
                                           "\xe2\x82\xac", "'s",     "12",         "\xff",
                                           "\xe2\x82",     "<tool>", "<|im_end|>", "\xc2\xa0"};
    std::string text;
    for (uint64_t n = rng.NextU64() % 12; n > 0; --n) text += kParts[rng.NextU64() % 12];
    for (SpecialTokens special : {SpecialTokens::kAsText, SpecialTokens::kParse}) {
      EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text, special), ControlTokens::kShow), text);
    }
  }
}

TEST(BytePair, AMegabyteOfOneLetterIsQuick) {
  const Tokenizer tokenizer = LoadOrDie(BytePairVocabulary());
  const std::string text(1 << 20, 'a');
  const std::clock_t begin = std::clock();
  const std::vector<TokenId> ids = tokenizer.Encode(text, SpecialTokens::kParse);
  // Takes a fraction of a second of the processor; a quadratic algorithm would take hours.
  // Sanitizers are slower.
  EXPECT_LT(std::clock() - begin, 20 * CLOCKS_PER_SEC);
  EXPECT_EQ(ids.size(), size_t{1} << 18);
}

TEST(BytePair, AMegabyteOfSpecialTokensIsQuick) {
  const Tokenizer tokenizer = LoadOrDie(BytePairVocabulary());
  std::string text;
  while (text.size() < (1 << 20)) text += "<tool><|im_end|><";
  const std::clock_t begin = std::clock();
  const std::vector<TokenId> ids = tokenizer.Encode(text, SpecialTokens::kParse);
  EXPECT_LT(std::clock() - begin, 20 * CLOCKS_PER_SEC);
  EXPECT_EQ(tokenizer.Decode(ids, ControlTokens::kShow), text);
}

TEST(BytePair, IgnoreMergesTakesTheWholeWord) {
  TestVocabulary vocabulary = BytePairVocabulary();
  vocabulary.Add("\xc4\xa0xyz", 1);  // 268, which no merges make
  EXPECT_EQ(Encode(LoadOrDie(vocabulary), " xyz").size(), 4u);
  vocabulary.pre = "llama-bpe";
  EXPECT_THAT(Encode(LoadOrDie(vocabulary), " xyz"), ElementsAre(268));
}

TEST(BytePair, MissingBytesBecomeTheUnknownTokenOrNothing) {
  TestVocabulary vocabulary;
  vocabulary.Add("a", 1);
  vocabulary.Add("<unk>", 2);
  vocabulary.merges = {"a b"};  // whose result is no token: falls apart again
  EXPECT_THAT(Encode(LoadOrDie(vocabulary), "abca"), ElementsAre(0, 0));
  vocabulary.extra.AddU32("tokenizer.ggml.unknown_token_id", 1);
  EXPECT_THAT(Encode(LoadOrDie(vocabulary), "abca"), ElementsAre(0, 1, 1, 0));
}

TEST(BytePair, KnowsItsTokens) {
  const Tokenizer tokenizer = LoadOrDie(BytePairVocabulary());
  EXPECT_EQ(tokenizer.vocab_size(), 268);
  EXPECT_EQ(tokenizer.bos(), TokenId(263));
  EXPECT_EQ(tokenizer.eos(), TokenId(264));
  EXPECT_FALSE(tokenizer.adds_bos());
  EXPECT_FALSE(tokenizer.adds_space_prefix());
  EXPECT_TRUE(tokenizer.IsControl(TokenId(263)));
  EXPECT_FALSE(tokenizer.IsControl(TokenId(265)));
  EXPECT_EQ(tokenizer.FindToken("\xc4\xa0hello"), TokenId(260));
  EXPECT_EQ(tokenizer.FindToken("absent"), std::nullopt);
  EXPECT_EQ(tokenizer.TokenText(TokenId(260)), "\xc4\xa0hello");
  EXPECT_EQ(tokenizer.TokenBytes(TokenId(260)), " hello");
  EXPECT_EQ(tokenizer.TokenBytes(TokenId(264)), "");
  EXPECT_EQ(tokenizer.TokenBytes(TokenId(264), ControlTokens::kShow), "<|im_end|>");
  EXPECT_EQ(tokenizer.TokenBytes(TokenId(-1)), "");
  EXPECT_EQ(tokenizer.TokenBytes(TokenId(268)), "");
  EXPECT_THAT(tokenizer.end_of_generation(), ElementsAre(TokenId(264), TokenId(267)));
  EXPECT_TRUE(tokenizer.IsEndOfGeneration(TokenId(267)));
  EXPECT_FALSE(tokenizer.IsEndOfGeneration(TokenId(263)));
}

TEST(BytePair, AWordThatLooksLikeAnEndIsNone) {
  TestVocabulary vocabulary = BytePairVocabulary();
  vocabulary.Add("</s>", 1);
  EXPECT_FALSE(LoadOrDie(vocabulary).IsEndOfGeneration(TokenId(268)));
  vocabulary.types.back() = 4;
  EXPECT_TRUE(LoadOrDie(vocabulary).IsEndOfGeneration(TokenId(268)));
  vocabulary.types.clear();  // the file does not say
  EXPECT_TRUE(LoadOrDie(vocabulary).IsEndOfGeneration(TokenId(268)));
}

TEST(BytePair, EncodesOnManyThreads) {
  const Tokenizer tokenizer = LoadOrDie(BytePairVocabulary());
  std::string text;
  for (int i = 0; i < 500; ++i) text += "hello a " + std::to_string(i);
  const std::vector<TokenId> expected = tokenizer.Encode(text, SpecialTokens::kParse);
  std::vector<std::vector<TokenId>> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&] { result = tokenizer.Encode(text, SpecialTokens::kParse); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, expected);
}

TEST(SentencePiece, MergesByScoreAndPrefixesASpace) {
  const Tokenizer tokenizer = LoadOrDie(SentencePieceVocabulary());
  // "▁a" has the best score, so "▁ab" is merged from it, and the second "ab" as such.
  EXPECT_THAT(Encode(tokenizer, "ab"), ElementsAre(261));
  EXPECT_THAT(Encode(tokenizer, "abab"), ElementsAre(261, 260));
  EXPECT_THAT(Encode(tokenizer, "ab ab"), ElementsAre(261, 261));
  EXPECT_THAT(Encode(tokenizer, "ab  b"), ElementsAre(261, 265, 264));
  EXPECT_THAT(Encode(tokenizer, ""), ElementsAre());
  EXPECT_TRUE(tokenizer.adds_bos());
  EXPECT_EQ(tokenizer.bos(), TokenId(1));
  EXPECT_EQ(tokenizer.eos(), TokenId(2));
}

TEST(SentencePiece, FallsBackToBytes) {
  const Tokenizer tokenizer = LoadOrDie(SentencePieceVocabulary());
  EXPECT_THAT(Encode(tokenizer, "a\xe2\x82\xac"), ElementsAre(259, 3 + 0xe2, 3 + 0x82, 3 + 0xac));
  EXPECT_THAT(Encode(tokenizer, "a\n"), ElementsAre(259, 3 + '\n'));
}

TEST(SentencePiece, WithoutSpacePrefix) {
  TestVocabulary vocabulary = SentencePieceVocabulary();
  vocabulary.extra.AddBool("tokenizer.ggml.add_space_prefix", false);
  const Tokenizer tokenizer = LoadOrDie(vocabulary);
  EXPECT_FALSE(tokenizer.adds_space_prefix());
  EXPECT_THAT(Encode(tokenizer, "abab"), ElementsAre(266));
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(" ab", SpecialTokens::kAsText)), " ab");
}

TEST(SentencePiece, DecodesWhatItEncodes) {
  const Tokenizer tokenizer = LoadOrDie(SentencePieceVocabulary());
  for (std::string_view text :
       {"ab ab", " ab", "  a", " ", "\xe2\x82\xac b", "ab<s> ab</s>b", "<s>", "a\xff\xc3z"}) {
    for (SpecialTokens special : {SpecialTokens::kAsText, SpecialTokens::kParse}) {
      EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text, special), ControlTokens::kShow), text);
    }
  }
}

TEST(SentencePiece, TokensAcrossWordsAreFound) {
  TestVocabulary vocabulary = SentencePieceVocabulary();
  vocabulary.Add("a\xe2\x96\x81", 1, 5);  // 267, the best score
  EXPECT_THAT(Encode(LoadOrDie(vocabulary), "a a"), ElementsAre(262, 267, 263));
}

TEST(SentencePiece, AMegabyteOfOneLetterIsQuick) {
  const Tokenizer tokenizer = LoadOrDie(SentencePieceVocabulary());
  std::string text;
  while (text.size() < (1 << 20)) text += "ab";
  const std::clock_t begin = std::clock();
  const std::vector<TokenId> ids = tokenizer.Encode(text, SpecialTokens::kAsText);
  EXPECT_LT(std::clock() - begin, 20 * CLOCKS_PER_SEC);
  EXPECT_EQ(tokenizer.Decode(ids), text);
}

struct Refusal {
  std::string_view message;
  void (*change)(TestVocabulary&);
};

TEST(TokenizerErrors, NameTheFileAndWhatIsWrong) {
  const Refusal refusals[] = {
      {"'t5', which Millrace does not know; it knows gpt2", [](auto& v) { v.model = "t5"; }},
      {"'tekken-9' (metadata key 'tokenizer.ggml.pre')", [](auto& v) { v.pre = "tekken-9"; }},
      {"qwen2", [](auto& v) { v.pre = "tekken-9"; }},
      {"has no vocabulary", [](auto& v) { v.tokens.clear(); }},
      {"tokens 97 and 268 have the same text", [](auto& v) { v.Add("a", 1); }},
      {"token_type has 267 entries, but there are 268", [](auto& v) { v.types.pop_back(); }},
      {"scores has 267 entries", [](auto& v) { v.scores.pop_back(); }},
      {"the score of token 3", [](auto& v) { v.scores[3] = std::nanf(""); }},
      {"entry 0 of tokenizer.ggml.merges", [](auto& v) { v.merges[0] = "he"; }},
      {"token 4 is of type byte", [](auto& v) { v.types[4] = 6; }},
      {"'tokenizer.ggml.eot_token_id'",
       [](auto& v) { v.extra.AddU32("tokenizer.ggml.eot_token_id", 268); }},
  };
  for (const Refusal& refusal : refusals) {
    TestVocabulary vocabulary = BytePairVocabulary();
    refusal.change(vocabulary);
    const auto tokenizer = vocabulary.Load();
    ASSERT_FALSE(tokenizer.ok()) << refusal.message;
    EXPECT_THAT(tokenizer.error().message, HasSubstr(std::string(refusal.message)));
    EXPECT_THAT(tokenizer.error().message, HasSubstr("test.gguf"));
  }
}

TEST(TokenizerErrors, MinusOneMeansNoToken) {
  TestVocabulary vocabulary = BytePairVocabulary();
  vocabulary.extra.AddU32("tokenizer.ggml.eot_token_id", 0xffffffff);
  EXPECT_TRUE(vocabulary.Load().ok());
}

}  // namespace
}  // namespace millrace
