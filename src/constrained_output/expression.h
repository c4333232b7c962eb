// Expression: what grammars and regular expressions parse to.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "constrained_output/char_set.h"

namespace millrace::constrained_internal {

struct Expression {
  enum class Kind {
    kChars,         // one of `set`
    kRule,          // of a grammar: number `rule`
    kSequence,      // of `parts`; of none: the empty text
    kAlternatives,  // one of `parts`
    kRepeat,        // of parts[0], `least` to `most` times
    kBegin,         // of a pattern: matches where the text begins
    kEnd,           // and where it ends
  };
  Kind kind = Kind::kSequence;
  CharSet set = {};
  int32_t rule = 0;
  std::vector<Expression> parts = {};
  int64_t least = 0;
  std::optional<int64_t> most = {};

  static Expression Chars(CharSet chars) { return {.kind = Kind::kChars, .set = std::move(chars)}; }
  // Of one part: that part.
  static Expression Of(Kind kind, std::vector<Expression> parts) {
    if (parts.size() == 1) {
      Expression only = std::move(parts[0]);
      return only;
    }
    return {.kind = kind, .parts = std::move(parts)};
  }
  static Expression Repeat(Expression part, int64_t least, std::optional<int64_t> most) {
    Expression repeat{.kind = Kind::kRepeat, .least = least, .most = most};
    repeat.parts.push_back(std::move(part));
    return repeat;
  }
};

}  // namespace millrace::constrained_internal
