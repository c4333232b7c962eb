// TextStream: tokens in, text out, a piece at a time, with stop strings.
//
// Invariant: every piece is whole UTF-8 characters (an incomplete character is held back until it is complete or cannot
// be, when it becomes U+FFFD); text that could be the beginning of a stop string is held back until it is decided; the
// concatenation of all pieces is Decode(all tokens) cut before the first stop string.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "tokenizer/tokenizer.h"

namespace millrace {

class TextStream {
 public:
  // `tokenizer` must outlive the stream. Empty stop strings are ignored.
  TextStream(const Tokenizer& tokenizer, std::vector<std::string> stop_strings,
             ControlTokens control = ControlTokens::kHide);

  // The text that became certain with this token (often empty). After stopped() it is always empty.
  std::string Append(TokenId token);
  // What was held back, once no more tokens come: incomplete characters become U+FFFD.
  std::string Finish();
  bool stopped() const { return stopped_; }            // a stop string has been met
  const std::string& stop_string() const { return stop_string_; }  // which one

 private:
  const Tokenizer* tokenizer_;
  std::vector<std::string> stop_strings_;
  ControlTokens control_;
  std::string held_;  // bytes not yet emitted
  bool first_ = true;
  bool stopped_ = false;
  std::string stop_string_;
};

}  // namespace millrace
