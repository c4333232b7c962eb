// TextStream: tokens in, text out, a piece at a time, with stop strings.
//
// Invariant: every piece is whole UTF-8 characters (an incomplete character is held back until it
// is complete or cannot be, when it becomes U+FFFD); text that could be the beginning of a stop
// string is held back until it is decided; the concatenation of all pieces is Decode(all tokens),
// each invalid sequence of bytes replaced by U+FFFD, cut before the first stop string. The first is
// the one that is complete first, the longest if several are: so how the text is cut into tokens
// makes no difference. Stop strings are followed with the automaton of Knuth, Morris and Pratt
// (1977).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/id.h"
#include "tokenizer/tokenizer.h"

namespace millrace {

class TextStream {
 public:
  // `tokenizer` must outlive the stream. Stop strings that are empty or not UTF-8 are ignored.
  TextStream(const Tokenizer& tokenizer, std::vector<std::string> stop_strings,
             ControlTokens control = ControlTokens::kHide);

  // Before the first Append: the stream goes on behind these tokens, of which it gives nothing.
  void GoOnBehind(std::span<const TokenId> tokens);
  // Before the first Append: these control tokens are shown as their text, though others are not.
  void Show(std::vector<TokenId> control_tokens) { shown_ = std::move(control_tokens); }
  // The text that became certain with this token (often empty). After stopped() it is always empty.
  std::string Append(TokenId token);
  // What was held back, once no more tokens come: incomplete characters become U+FFFD.
  std::string Finish();
  bool stopped() const { return stopped_; }                        // a stop string has been met
  const std::string& stop_string() const { return stop_string_; }  // which one

 private:
  struct Stop {
    std::string text;
    std::vector<size_t>
        fallback;        // [n]: the longest proper prefix that is a suffix of the first n bytes
    size_t matched = 0;  // bytes of `text` that the stream's text ends with
  };
  // Appends whole characters to text_, following the stop strings; stops behind the first of these.
  void Accept(std::string_view text);
  void AcceptByte(char byte);
  std::string TakeCertain();

  const Tokenizer* tokenizer_;
  std::vector<Stop> stops_;
  ControlTokens control_;
  std::vector<TokenId> shown_;
  Tokenizer::DecodeState decode_state_;
  std::string bytes_;  // not yet whole characters
  std::string text_;   // whole characters, not yet emitted
  bool stopped_ = false;
  std::string stop_string_;
};

}  // namespace millrace
