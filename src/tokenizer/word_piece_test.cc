// WordPiece on a vocabulary written here; the ids were worked out by hand from the rules of
// Hugging Face's BertNormalizer, BertPreTokenizer and WordPiece.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_test_vocabulary.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

enum : int32_t {
  kPad,
  kUnk,
  kCls,
  kSep,
  kThe,
  kUn,
  kAff,
  kAble,
  kAffable,
  kCafe,
  kComma,
  kDollar,
  kOne,
  kMid,
  kCountry,
  kE,
  kX,
  kMoreX,
  kStrasse,
  kHangul1,
  kHangul2,
  kCapital,
  kAccent,
  kTokens
};

TestVocabulary WordPieceVocabulary() {
  TestVocabulary v;
  v.model = "bert";
  v.pre = "";
  v.Add("[PAD]", 3);
  v.Add("[UNK]", 3);
  v.Add("[CLS]", 3);
  v.Add("[SEP]", 3);
  for (const char* text :
       {"▁the", "▁un", "aff", "able", "affable", "▁cafe", "▁,", "▁$", "▁1", "▁中", "▁国", "▁e",
        "▁x", "x", "▁straße", "▁\u1112\u1161\u11ab", "\u1100\u116e\u11a8", "▁Cafe", "▁Café"}) {
    v.Add(text, 1);
  }
  v.extra.AddU32("tokenizer.ggml.unknown_token_id", kUnk);
  v.extra.AddU32("tokenizer.ggml.cls_token_id", kCls);
  v.extra.AddU32("tokenizer.ggml.seperator_token_id", kSep);
  return v;
}

std::vector<int32_t> Ids(const Tokenizer& tokenizer, std::string_view text,
                         SpecialTokens special = SpecialTokens::kAsText) {
  std::vector<int32_t> ids;
  for (TokenId id : tokenizer.Encode(text, special)) ids.push_back(id.value);
  return ids;
}

TEST(WordPiece, TakesTheLongestTokensFromTheLeft) {
  const Tokenizer t = LoadOrDie(WordPieceVocabulary());
  EXPECT_THAT(Ids(t, "unaffable"), ElementsAre(kUn, kAffable));  // not aff, able
  EXPECT_THAT(Ids(t, "unaff"), ElementsAre(kUn, kAff));
  EXPECT_THAT(Ids(t, "unable"), ElementsAre(kUn, kAble));
  EXPECT_THAT(Ids(t, ""), IsEmpty());
}

TEST(WordPiece, AWordThatTokensDoNotCoverIsUnknownAsAWhole) {
  const Tokenizer t = LoadOrDie(WordPieceVocabulary());
  EXPECT_THAT(Ids(t, "the unaffz the"), ElementsAre(kThe, kUnk, kThe));
  EXPECT_THAT(Ids(t, "able"), ElementsAre(kUnk));   // goes on with a word, begins none
  EXPECT_THAT(Ids(t, "unthe"), ElementsAre(kUnk));  // begins a word, goes on with none
}

TEST(WordPiece, LowersCapitalsAndStripsAccents) {
  const Tokenizer t = LoadOrDie(WordPieceVocabulary());
  EXPECT_THAT(Ids(t, "THE The"), ElementsAre(kThe, kThe));
  EXPECT_THAT(Ids(t, "Caf\u00e9 CAF\u00c9"), ElementsAre(kCafe, kCafe));
  EXPECT_THAT(Ids(t, "cafe\u0301"), ElementsAre(kCafe));  // the accent as a character of its own
  EXPECT_THAT(Ids(t, "\u1ec7"), ElementsAre(kE));         // two marks: e, circumflex, dot below
  EXPECT_THAT(Ids(t, "Stra\u00dfe"), ElementsAre(kStrasse));
  EXPECT_THAT(Ids(t, "\u0301"), IsEmpty());
  // Syllables fall apart into their letters: 한국 is one word of six.
  EXPECT_THAT(Ids(t, "\ud55c\uad6d"), ElementsAre(kHangul1, kHangul2));
}

TEST(WordPiece, CapitalsAndAccentsStayWhereTheFileSaysSo) {
  TestVocabulary cased = WordPieceVocabulary();
  cased.extra.AddBool("tokenizer.ggml.normalizer.lowercase", false);
  EXPECT_THAT(Ids(LoadOrDie(cased), "Caf\u00e9 Cafe cafe THE"),
              ElementsAre(kAccent, kCapital, kCafe, kUnk));
  cased.extra.AddBool("tokenizer.ggml.normalizer.strip_accents", true);
  EXPECT_THAT(Ids(LoadOrDie(cased), "Caf\u00e9"), ElementsAre(kCapital));
}

TEST(WordPiece, PunctuationAndChineseCharactersAreWords) {
  const Tokenizer t = LoadOrDie(WordPieceVocabulary());
  EXPECT_THAT(Ids(t, "the,the"), ElementsAre(kThe, kComma, kThe));
  EXPECT_THAT(Ids(t, "$1,,"), ElementsAre(kDollar, kOne, kComma, kComma));  // $ is a symbol
  EXPECT_THAT(Ids(t, "the\u201cthe"), ElementsAre(kThe, kUnk, kThe));       // a quotation mark
  EXPECT_THAT(Ids(t, "x\u20acx"), ElementsAre(kUnk));  // the euro is none, so this is one word
  EXPECT_THAT(Ids(t, "the中国x"), ElementsAre(kThe, kMid, kCountry, kX));
  EXPECT_THAT(Ids(t, "[CLS]"), ElementsAre(kUnk, kUnk, kUnk));
  EXPECT_THAT(Ids(t, "[CLS]the", SpecialTokens::kParse), ElementsAre(kCls, kThe));
}

TEST(WordPiece, CleansTheText) {
  const Tokenizer t = LoadOrDie(WordPieceVocabulary());
  EXPECT_THAT(Ids(t, " \t the\r\nthe\u00a0the\u3000the  "), ElementsAre(kThe, kThe, kThe, kThe));
  EXPECT_THAT(Ids(t, std::string("t\0h\u200be\u00ad\x07", 9)), ElementsAre(kThe));
  EXPECT_THAT(Ids(t,
                  "t\xffh\ufffd"
                  "e\xe2\x82"),
              ElementsAre(kThe));  // what is no UTF-8
}

TEST(WordPiece, AWordOfMoreThanAHundredCharactersIsUnknown) {
  const Tokenizer t = LoadOrDie(WordPieceVocabulary());
  std::vector<int32_t> all(100, kMoreX);
  all[0] = kX;
  EXPECT_EQ(Ids(t, std::string(100, 'x')), all);
  EXPECT_THAT(Ids(t, std::string(101, 'x')), ElementsAre(kUnk));
  EXPECT_THAT(Ids(t, std::string(1 << 20, 'x') + " the"), ElementsAre(kUnk, kThe));
}

TEST(WordPiece, NamesItsSpecialTokensAndDecodesWords) {
  const Tokenizer t = LoadOrDie(WordPieceVocabulary());
  EXPECT_EQ(t.bos(), TokenId(kCls));
  EXPECT_EQ(t.eos(), TokenId(kSep));
  EXPECT_EQ(t.separator(), TokenId(kSep));
  EXPECT_TRUE(t.adds_bos());
  EXPECT_TRUE(t.adds_eos());
  EXPECT_EQ(t.Decode(std::vector<TokenId>{TokenId(kCls), TokenId(kUn), TokenId(kAffable),
                                          TokenId(kThe), TokenId(kSep)}),
            "unaffable the");
}

std::string ErrorOf(const TestVocabulary& vocabulary) {
  auto tokenizer = vocabulary.Load();
  return tokenizer.ok() ? "" : tokenizer.error().message;
}

TEST(WordPiece, BadFilesAreSentences) {
  TestVocabulary v = WordPieceVocabulary();
  v.extra = {};
  EXPECT_THAT(ErrorOf(v), HasSubstr("does not say which tokens are [CLS], [SEP] and [UNK]"));
  v = WordPieceVocabulary();
  for (std::string& text : v.tokens) {
    if (text.starts_with("▁")) text = "w" + text.substr(3);
  }
  EXPECT_THAT(ErrorOf(v), HasSubstr("no token begins a word"));
  v = WordPieceVocabulary();
  v.extra.AddU32("tokenizer.ggml.eos_token_id", kTokens);
  EXPECT_THAT(ErrorOf(v), HasSubstr("tokenizer.ggml.eos_token_id"));
}

}  // namespace
}  // namespace millrace
