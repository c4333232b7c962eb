#include "constrained_output/regex_syntax.h"

#include <fmt/format.h>

#include <algorithm>

#include "constrained_output/regex.h"
#include "constrained_output/repeat.h"
#include "constrained_output/text_reader.h"

namespace millrace::constrained_internal {
namespace {

CharSet Digits() { return CharSet('0', '9'); }

CharSet WordChars() {
  CharSet set = Digits();
  set.Add('A', 'Z');
  set.Add('a', 'z');
  set.Add('_', '_');
  return set;
}

// ECMA-262's WhiteSpace and LineTerminator.
CharSet Spaces() {
  CharSet set(0x09, 0x0D);
  for (const uint32_t c :
       {0x20u, 0xA0u, 0x1680u, 0x2028u, 0x2029u, 0x202Fu, 0x205Fu, 0x3000u, 0xFEFFu}) {
    set.Add(c, c);
  }
  set.Add(0x2000, 0x200A);
  return set;
}

CharSet AllButLineEnds() {
  CharSet ends('\n', '\n');
  ends.Add('\r', '\r');
  ends.Add(0x2028, 0x2029);
  return ends.Inverted();
}

class RegexParser {
 public:
  explicit RegexParser(std::string_view pattern) : reader_(pattern) {}

  Result<Expression> Parse() {
    Expression expression = Alternatives(0);
    if (ok() && !reader_.AtEnd()) Fail("has a ')' without its '('");
    if (!ok()) return Error{*problem_};
    return expression;
  }

 private:
  bool ok() const { return !problem_.has_value(); }
  void Fail(std::string_view what) {
    if (ok()) {
      problem_ = fmt::format("The regular expression {} (at byte {}).", what, reader_.position());
    }
  }

  Expression Alternatives(int depth) {
    if (depth > kMaxRegexNesting) {
      Fail(fmt::format("nests deeper than {} groups", kMaxRegexNesting));
      return {};
    }
    std::vector<Expression> alternatives;
    alternatives.push_back(Sequence(depth));
    while (ok() && reader_.Skip('|')) alternatives.push_back(Sequence(depth));
    return Expression::Of(Expression::Kind::kAlternatives, std::move(alternatives));
  }

  Expression Sequence(int depth) {
    std::vector<Expression> parts;
    while (ok() && !reader_.AtEnd() && reader_.Peek() != '|' && reader_.Peek() != ')') {
      Expression atom = Atom(depth);
      if (ok()) parts.push_back(Quantified(std::move(atom)));
    }
    return Expression::Of(Expression::Kind::kSequence, std::move(parts));
  }

  Expression Atom(int depth) {
    if (reader_.Skip('^')) return {.kind = Expression::Kind::kBegin};
    if (reader_.Skip('$')) return {.kind = Expression::Kind::kEnd};
    if (reader_.Skip('.')) return Expression::Chars(AllButLineEnds());
    if (reader_.Skip('[')) return Expression::Chars(Class());
    if (reader_.Skip('\\')) return Expression::Chars(Escape(false));
    if (reader_.Skip('(')) return Group(depth);
    const char c = reader_.Peek();
    if (c == '*' || c == '+' || c == '?') Fail(fmt::format("has a '{}' with nothing to repeat", c));
    if (c == '{' || c == '}' || c == ']') Fail(fmt::format("has a lone '{0}': write '\\{0}'", c));
    const uint32_t character = Character();
    return Expression::Chars(CharSet(character, character));
  }

  Expression Group(int depth) {
    if (reader_.Skip('?')) {
      const bool named = reader_.Peek() == '<' && reader_.Peek(1) != '=' && reader_.Peek(1) != '!';
      if (named) {
        while (!reader_.AtEnd() && reader_.Peek() != '>') reader_.Take();
        if (!reader_.Skip('>')) Fail("has a group name without '>'");
      } else if (!reader_.Skip(':')) {
        Fail("uses a group that is not supported: only (...), (?:...) and (?<name>...) are");
      }
    }
    Expression inner = Alternatives(depth + 1);
    if (ok() && !reader_.Skip(')')) Fail("has a '(' without its ')'");
    return inner;
  }

  Expression Quantified(Expression atom) {
    int64_t least = 0;
    std::optional<int64_t> most;
    if (reader_.Skip('*')) {
    } else if (reader_.Skip('+')) {
      least = 1;
    } else if (reader_.Skip('?')) {
      most = 1;
    } else if (reader_.Skip('{')) {
      const auto bounds = reader_.Bounds();
      if (!bounds) {
        Fail(
            fmt::format("has a '{{' that is no repetition of at most {} times: write '\\{{' for "
                        "the character",
                        kMaxRepetition));
        return atom;
      }
      least = bounds->least;
      most = bounds->most;
    } else {
      return atom;
    }
    reader_.Skip('?');  // lazy: the same texts
    const char next = reader_.AtEnd() ? ' ' : reader_.Peek();
    if (next == '*' || next == '+' || next == '?' || next == '{') {
      Fail("repeats a repetition: put the inner one in a group");
    }
    if (atom.kind == Expression::Kind::kBegin || atom.kind == Expression::Kind::kEnd) {
      Fail("repeats an anchor");
    }
    return Expression::Repeat(std::move(atom), least, most);
  }

  CharSet Class() {
    CharSet set;
    const bool inverted = reader_.Skip('^');
    while (ok() && !reader_.Skip(']')) {
      if (reader_.AtEnd()) {
        Fail("has a '[' without its ']'");
        return set;
      }
      const CharSet low = ClassMember();
      if (reader_.Peek() != '-' || reader_.Peek(1) == ']' || reader_.Left() < 2) {
        set.Add(low);
        continue;
      }
      reader_.Take();
      const CharSet high = ClassMember();
      if (!ok()) break;
      const auto is_one = [](const CharSet& s) {
        return s.ranges().size() == 1 && s.ranges()[0].low == s.ranges()[0].high;
      };
      if (!is_one(low) || !is_one(high) || low.ranges()[0].low > high.ranges()[0].low) {
        Fail("has a range whose ends are no characters in order");
        break;
      }
      set.Add(low.ranges()[0].low, high.ranges()[0].low);
    }
    return inverted ? set.Inverted() : set;
  }

  CharSet ClassMember() {
    if (reader_.Skip('\\')) return Escape(true);
    const uint32_t character = Character();
    return CharSet(character, character);
  }

  uint32_t Character() {
    const auto character = reader_.Character();
    if (!character) Fail("is not UTF-8");
    return character.value_or(0);
  }

  CharSet Escape(bool in_class) {
    if (reader_.AtEnd()) {
      Fail("ends with a lone '\\'");
      return {};
    }
    const char letter = reader_.Take();
    switch (letter) {
      case 'd':
        return Digits();
      case 'D':
        return Digits().Inverted();
      case 'w':
        return WordChars();
      case 'W':
        return WordChars().Inverted();
      case 's':
        return Spaces();
      case 'S':
        return Spaces().Inverted();
      default:
        break;
    }
    const uint32_t character = EscapedCharacter(letter, in_class);
    return CharSet(character, character);
  }

  uint32_t EscapedCharacter(char letter, bool in_class) {
    constexpr std::string_view kControls = "tnrfv", kValues = "\t\n\r\f\v";
    if (const size_t i = kControls.find(letter); i != kControls.npos) {
      return static_cast<uint8_t>(kValues[i]);
    }
    if (letter == '0' && !(reader_.Peek() >= '0' && reader_.Peek() <= '9')) return 0;
    if (letter == 'b' && in_class) return 8;
    if (letter == 'x') return Hex(2);
    if (letter == 'u') return UnicodeEscape();
    if (letter == 'c') {
      const char control = reader_.AtEnd() ? ' ' : reader_.Take();
      const bool is_letter =
          (control >= 'a' && control <= 'z') || (control >= 'A' && control <= 'Z');
      if (!is_letter) Fail("has a \\c without a letter");
      return static_cast<uint32_t>(control) % 32;
    }
    constexpr std::string_view kPunctuation = "^$\\.*+?()[]{}|/-\"'`~!@#%&=:;,<> _";
    if (kPunctuation.find(letter) == kPunctuation.npos) {
      Fail(fmt::format("uses '\\{}', which is not supported", Printable(letter)));
    }
    return static_cast<uint8_t>(letter);
  }

  uint32_t Hex(int digits) {
    const auto number = reader_.Hex(digits);
    if (!number) Fail(fmt::format("has an escape without its {} hexadecimal digits", digits));
    return number.value_or(0);
  }

  uint32_t UnicodeEscape() {
    uint32_t character = 0;
    if (reader_.Skip('{')) {
      size_t digits = 0;
      while (!reader_.AtEnd() && reader_.Peek() != '}' && ++digits <= 8) {
        character = character * 16 + Hex(1);
        if (!ok()) return 0;
      }
      if (!reader_.Skip('}') || digits == 0) Fail("has a \\u{ without its number and '}'");
    } else {
      character = Hex(4);
      const bool leads = character >= 0xD800 && character < 0xDC00;
      if (leads && reader_.Skip('\\') && reader_.Skip('u')) {
        const uint32_t second = Hex(4);
        if (second < 0xDC00 || second > 0xDFFF) Fail("has half of a surrogate pair");
        character = 0x10000 + ((character - 0xD800) << 10) + ((second - 0xDC00) & 0x3FF);
      }
    }
    const bool is_scalar =
        character <= kMaxCodePoint && !(character >= 0xD800 && character <= 0xDFFF);
    if (!is_scalar) Fail("names a code point that is no character");
    return is_scalar ? character : 0;
  }

  TextReader reader_;
  std::optional<std::string> problem_;
};

}  // namespace

Result<Expression> ParseRegexSyntax(std::string_view pattern) {
  return RegexParser(pattern).Parse();
}

}  // namespace millrace::constrained_internal
