// Published advisories about tokenizers, each as a vocabulary or a text that made another one leave
// its memory or its time. docs/SECURITY.md lists them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <string>

#include "tokenizer/text_stream.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_test_vocabulary.h"

namespace millrace {
namespace {

using testing::HasSubstr;

// CVE-2025-49847 (llama.cpp): a token longer than the buffer that its bytes were copied to.
TEST(TokenizerAdvisories, Cve202549847ATokenOfAMegabyteIsDecodedWhole) {
  TestVocabulary vocabulary = BytePairVocabulary();
  const std::string word(1 << 20, 'w');
  vocabulary.Add(word, 1);
  vocabulary.Add("<" + word + ">", 3);
  const Tokenizer tokenizer = LoadOrDie(vocabulary);
  const TokenId long_one(268), long_control(269);
  // Not EXPECT_EQ, which would print them.
  EXPECT_TRUE(tokenizer.TokenBytes(long_one) == word);
  EXPECT_TRUE(tokenizer.Decode(std::vector<TokenId>{long_one, TokenId('a'), long_one}) ==
              word + "a" + word);
  EXPECT_TRUE(tokenizer.Decode(std::vector<TokenId>{long_control}, ControlTokens::kShow) ==
              "<" + word + ">");
  TextStream stream(tokenizer, {"wa"});
  std::string text = stream.Append(long_one);
  text += stream.Append(TokenId('a'));
  text += stream.Finish();
  EXPECT_TRUE(text == word.substr(1)) << text.size();
}

// llama.cpp's PLaMo-2 vocabulary (pull request 25969): "<0x-1>" as a byte wrote before a table.
TEST(TokenizerAdvisories, BytesThatAreNoTwoDigitsAreRefused) {
  for (const char* text : {"<0x-1>", "<0x-f>", "<0xZZ>", "<0x+1>", "<0x 1>", "<0x1>", "<0x100>",
                           "<0x>", "0x41", "<0x41", "", "<0x\xc3\xa4>"}) {
    TestVocabulary vocabulary = SentencePieceVocabulary();
    vocabulary.Add(text, 6);
    const auto tokenizer = vocabulary.Load();
    ASSERT_FALSE(tokenizer.ok()) << text;
    EXPECT_THAT(tokenizer.error().message, HasSubstr("token 267")) << text;
  }
}

// Ids of special tokens that index the vocabulary: below zero, behind its end, past 32 bits.
TEST(TokenizerAdvisories, IdsOutsideTheVocabularyAreRefused) {
  for (const char* key : {"bos", "eos", "eot", "unknown", "fim_pre"}) {
    const std::string name = std::string("tokenizer.ggml.") + key + "_token_id";
    for (const uint64_t id : {uint64_t{268}, uint64_t{1} << 31, uint64_t{1} << 32,
                              (uint64_t{1} << 32) + 5, ~uint64_t{0} >> 1}) {
      TestVocabulary vocabulary = BytePairVocabulary();
      GgufWriter fresh;  // without the ids that the vocabulary brings
      vocabulary.extra = fresh;
      vocabulary.extra.AddU64(name, id);
      const auto tokenizer = vocabulary.Load();
      ASSERT_FALSE(tokenizer.ok()) << name << " " << id;
      EXPECT_THAT(tokenizer.error().message, HasSubstr(name));
    }
    for (const int32_t id : {-2, INT32_MIN}) {
      TestVocabulary vocabulary = BytePairVocabulary();
      vocabulary.extra = GgufWriter();
      vocabulary.extra.AddI32(name, id);
      EXPECT_FALSE(vocabulary.Load().ok()) << name << " " << id;
    }
  }
}

// CVE-2025-46560 (vLLM: quadratic time) and CVE-2025-52566 (llama.cpp: a count of tokens past 31
// bits): texts that a pre-tokeniser with patterns would search again and again.
TEST(TokenizerAdvisories, Cve202546560HostileTextsTakeLinearTime) {
  const Tokenizer byte_pair = LoadOrDie(BytePairVocabulary());
  const Tokenizer sentence_piece = LoadOrDie(SentencePieceVocabulary());
  const auto repeated = [](std::string_view piece) {
    std::string text;
    while (text.size() < (1 << 20)) text += piece;
    return text;
  };
  for (const std::string_view piece :
       {" ", "\n", " \n", "\r", "'", "'s", "1", "\t\xc2\xa0", "\xff", "\xe2\x82", "<|im_start|",
        "<tool", "aA", "\xcc\x81", "\xf0\x9f\x91\xa9\xe2\x80\x8d"}) {
    const std::string text = repeated(piece);
    for (const Tokenizer* tokenizer : {&byte_pair, &sentence_piece}) {
      for (const SpecialTokens special : {SpecialTokens::kAsText, SpecialTokens::kParse}) {
        const std::clock_t begin = std::clock();
        const size_t tokens = tokenizer->Encode(text, special).size();
        EXPECT_GT(tokens, 0u);
        EXPECT_LE(tokens, 2 * text.size());
        // A fraction of a second; a quadratic algorithm takes hours. Sanitizers are slower.
        EXPECT_LT(std::clock() - begin, 20 * CLOCKS_PER_SEC) << piece;
      }
    }
  }
}

// Stop strings that almost match at every place, as a client may choose them.
TEST(TokenizerAdvisories, HostileStopStringsTakeLinearTime) {
  const Tokenizer tokenizer = LoadOrDie(BytePairVocabulary());
  std::vector<std::string> stop;
  for (int i = 0; i < 4; ++i)
    stop.push_back(std::string(1020, 'a') + std::string(1, char('b' + i)));
  TextStream stream(tokenizer, stop);
  const std::clock_t begin = std::clock();
  size_t seen = 0;
  const int32_t tokens = 20'000;
  for (int32_t i = 0; i < tokens; ++i) seen += stream.Append(TokenId('a')).size();
  seen += stream.Finish().size();
  EXPECT_EQ(seen, static_cast<size_t>(tokens));
  EXPECT_LT(std::clock() - begin, 20 * CLOCKS_PER_SEC);
}

}  // namespace
}  // namespace millrace
