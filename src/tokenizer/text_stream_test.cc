#include "tokenizer/text_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"
#include "tokenizer/tokenizer_test_vocabulary.h"
#include "tokenizer/utf8.h"

namespace millrace {
namespace {

using testing::ElementsAre;

class TextStreamTest : public testing::Test {
 protected:
  // The pieces for the bytes of `text`, a token each, and at last what Finish gives.
  std::vector<std::string> Stream(std::string_view text, std::vector<std::string> stops) {
    TextStream stream(bytes_, std::move(stops));
    std::vector<std::string> pieces;
    for (char byte : text) pieces.push_back(stream.Append(TokenOf(byte)));
    pieces.push_back(stream.Finish());
    stopped_ = stream.stopped();
    stop_string_ = stream.stop_string();
    return pieces;
  }
  std::string Joined(std::string_view text, std::vector<std::string> stops) {
    std::string joined;
    for (const std::string& piece : Stream(text, std::move(stops))) joined += piece;
    return joined;
  }
  static TokenId TokenOf(char byte) { return TokenId(static_cast<unsigned char>(byte)); }

  Tokenizer bytes_ = std::move(BytePairVocabulary().Load()).value();
  bool stopped_ = false;
  std::string stop_string_;
};

TEST_F(TextStreamTest, HoldsIncompleteCharacters) {
  EXPECT_THAT(Stream("a\xe2\x82\xac", {}), ElementsAre("a", "", "", "\xe2\x82\xac", ""));
  EXPECT_THAT(Stream("\xf0\x9f\x98", {}), ElementsAre("", "", "", "\xef\xbf\xbd"));
  EXPECT_THAT(Stream("\xe2\x82z", {}), ElementsAre("", "", "\xef\xbf\xbdz", ""));
  EXPECT_THAT(Stream("\xff", {}), ElementsAre("\xef\xbf\xbd", ""));
}

TEST_F(TextStreamTest, HoldsWhatMayBecomeAStopString) {
  EXPECT_THAT(Stream("xSTy", {"STOP"}), ElementsAre("x", "", "", "STy", ""));
  EXPECT_FALSE(stopped_);
  EXPECT_THAT(Stream("xST", {"STOP"}), ElementsAre("x", "", "", "ST"));
  EXPECT_THAT(Stream("xSTOPy", {"STOP"}), ElementsAre("x", "", "", "", "", "", ""));
  EXPECT_TRUE(stopped_);
  EXPECT_EQ(stop_string_, "STOP");
}

TEST_F(TextStreamTest, TheStopStringThatIsCompleteFirstWins) {
  EXPECT_EQ(Joined("xabcd", {"abcd", "bc"}), "xa");
  EXPECT_EQ(stop_string_, "bc");
  EXPECT_EQ(Joined("xabc", {"bc", "abc"}), "x");
  EXPECT_EQ(stop_string_, "abc");
  EXPECT_EQ(Joined("aabaabaaab", {"aabaaab"}), "aab");
}

TEST_F(TextStreamTest, IgnoresStopStringsThatCannotBe) {
  EXPECT_EQ(Joined("abc", {"", "\x82"}), "abc");
  EXPECT_FALSE(stopped_);
}

TEST_F(TextStreamTest, HidesOrShowsControlTokens) {
  TextStream hidden(bytes_, {});
  EXPECT_EQ(hidden.Append(TokenId(264)), "");
  TextStream shown(bytes_, {}, ControlTokens::kShow);
  EXPECT_EQ(shown.Append(TokenId(264)), "<|im_end|>");
  TextStream some(bytes_, {});
  some.Show({TokenId(263)});
  EXPECT_EQ(some.Append(TokenId(263)), "<|im_start|>");
  EXPECT_EQ(some.Append(TokenId(264)), "");
  TextStream stops(bytes_, {"end"}, ControlTokens::kShow);
  EXPECT_EQ(stops.Append(TokenId(264)), "<|im_");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.Append(TokenId('a')), "");
}

TEST_F(TextStreamTest, DropsTheSpaceThatSentencePieceAdds) {
  const Tokenizer tokenizer = std::move(SentencePieceVocabulary().Load()).value();
  TextStream stream(tokenizer, {});
  EXPECT_EQ(stream.Append(TokenId(1)), "");      // <s>
  EXPECT_EQ(stream.Append(TokenId(261)), "ab");  // ▁ab
  EXPECT_EQ(stream.Append(TokenId(261)), " ab");
  EXPECT_EQ(stream.Append(TokenId(3 + 0xe2)), "");
  EXPECT_EQ(stream.Append(TokenId(3 + 0x82)), "");
  EXPECT_EQ(stream.Append(TokenId(3 + 0xac)), "\xe2\x82\xac");
}

// Cut before the stop string that is complete first, of those the longest: by brute force.
std::string CutByHand(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (std::string_view(text).substr(0, end).ends_with(stop))
        longest = std::max(longest, stop.size());
    }
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

TEST_F(TextStreamTest, HowTheTextIsCutIntoTokensMakesNoDifference) {
  // Merged tokens: "aa" is 261, "aaaa" 262, "he" 256, "ll" 257.
  for (uint64_t i = 0; i < 5000; ++i) {
    CounterRng rng(11, i);
    constexpr int32_t kTokens[] = {'a', 'b', 'h', 261, 262, 256, 257, 0xe2, 0x82, 0xac, 0xff, 265};
    std::vector<TokenId> ids;
    for (uint64_t n = rng.NextU64() % 20; n > 0; --n) {
      ids.push_back(TokenId(kTokens[rng.NextU64() % std::size(kTokens)]));
    }
    std::string text;
    TextStream whole(bytes_, {});
    for (TokenId id : ids) text += whole.Append(id);
    text += whole.Finish();
    const std::vector<std::string> stops = {"aab", "heaa", "\xe2\x82\xac", "llb", "aabaab"};
    TextStream stream(bytes_, stops);
    std::string streamed;
    for (TokenId id : ids) {
      const std::string piece = stream.Append(id);
      EXPECT_TRUE(tokenizer_internal::IsUtf8(piece));
      streamed += piece;
    }
    streamed += stream.Finish();
    ASSERT_EQ(streamed, CutByHand(text, stops)) << "sequence " << i;
  }
}

}  // namespace
}  // namespace millrace
