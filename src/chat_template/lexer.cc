#include "chat_template/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "chat_template/failure.h"
#include "chat_template/string_literal.h"
#include "chat_template/text.h"

namespace millrace::jinja {
namespace {

std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool IsDigitByte(char c) { return c >= '0' && c <= '9'; }
bool IsNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || IsDigitByte(c) || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// Which tag begins, and the sign behind its opening: '-', '+' or 0.
enum class TagKind { kVariable, kBlock, kComment, kRaw };

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Token> Run() {
    while (position_ < source_.size()) LexRoot();
    Push(TokenType::kEnd, "");
    return std::move(tokens_);
  }

 private:
  std::string_view Rest() const { return std::string_view(source_).substr(position_); }
  bool StartsWith(std::string_view prefix) const { return Rest().starts_with(prefix); }

  void Advance(size_t bytes) {
    const std::string_view passed = Rest().substr(0, bytes);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    if (!passed.empty()) line_starting_ = passed.back() == '\n';
    position_ += passed.size();
  }

  void Push(TokenType type, std::string text) {
    tokens_.push_back(Token{type, line_, std::move(text), 0, 0});
  }

  size_t SpacesAt(size_t position) const {
    const std::string_view rest = std::string_view(source_).substr(position);
    return rest.size() - Strip(rest, StripSide::kLeft).size();
  }

  // The length of `{% raw %}` (with its signs) at `position`, or 0.
  size_t RawBeginLength(size_t position) const {
    size_t end = position + 2;
    if (end < source_.size() && (source_[end] == '-' || source_[end] == '+')) ++end;
    end += SpacesAt(end);
    if (source_.compare(end, 3, "raw") != 0) return 0;
    end += 3;
    end += SpacesAt(end);
    if (source_.compare(end, 3, "-%}") == 0) {
      end += 3;
      end += SpacesAt(end);
    } else if (source_.compare(end, 2, "%}") == 0) {
      end += 2;
    } else {
      return 0;
    }
    return end - position;
  }

  // Text before a tag: '-' strips all white space, otherwise a block's own indentation goes
  // (lstrip_blocks).
  void EmitData(std::string_view text, char sign, bool is_variable) {
    std::string_view kept = text;
    if (sign == '-') {
      kept = Strip(text, StripSide::kRight);
    } else if (sign != '+' && !is_variable) {
      const size_t newline = text.rfind('\n');
      const size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
      if ((line_start > 0 || line_starting_) &&
          Strip(text.substr(line_start), StripSide::kLeft).empty()) {
        kept = text.substr(0, line_start);
      }
    }
    if (!kept.empty()) Push(TokenType::kData, std::string(kept));
    Advance(text.size());
  }

  char SignAt(size_t position) const {
    return position < source_.size() && (source_[position] == '-' || source_[position] == '+')
               ? source_[position]
               : '\0';
  }

  void LexRoot() {
    size_t tag = position_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) {
        Push(TokenType::kData, std::string(Rest()));
        Advance(Rest().size());
        return;
      }
      const char second = source_[tag + 1];
      if (second == '%' || second == '{' || second == '#') break;
      ++tag;
    }
    const char second = source_[tag + 1];
    const char sign = SignAt(tag + 2);
    EmitData(Rest().substr(0, tag - position_), sign, second == '{');
    const size_t opening = sign == '\0' ? 2 : 3;
    if (second == '#') {
      LexComment(opening);
    } else if (second == '{') {
      LexTag(opening, TokenType::kVariableBegin, TokenType::kVariableEnd);
    } else if (const size_t raw = RawBeginLength(tag); raw > 0) {
      LexRaw(raw);
    } else {
      LexTag(opening, TokenType::kBlockBegin, TokenType::kBlockEnd);
    }
  }

  void LexComment(size_t opening) {
    const int start_line = line_;
    const size_t end = source_.find("#}", position_ + opening);
    if (end == std::string::npos)
      FailAtLine(start_line, "a comment tag is not closed: '#}' is missing");
    const char sign = end > position_ + opening ? source_[end - 1] : '\0';
    Advance(end + 2 - position_);
    if (sign == '-') {
      Advance(SpacesAt(position_));
    } else if (sign != '+' && StartsWith("\n")) {
      Advance(1);
    }
  }

  void LexRaw(size_t opening) {
    const int start_line = line_;
    Advance(opening);
    for (size_t at = source_.find("{%", position_); at != std::string::npos;
         at = source_.find("{%", at + 1)) {
      const char sign = SignAt(at + 2);
      size_t end = at + (sign == '\0' ? 2 : 3);
      end += SpacesAt(end);
      if (source_.compare(end, 6, "endraw") != 0) continue;
      end += 6;
      end += SpacesAt(end);
      const size_t closing = BlockEndLength(end);
      if (closing == 0) continue;
      EmitData(Rest().substr(0, at - position_), sign, false);
      Advance(end + closing - position_);
      return;
    }
    FailAtLine(start_line, "a raw block is not closed: '{% endraw %}' is missing");
  }

  // The length of a block's end with the white space that it takes along, or 0.
  size_t BlockEndLength(size_t position) const {
    if (source_.compare(position, 3, "+%}") == 0) return 3;
    if (source_.compare(position, 3, "-%}") == 0) return 3 + SpacesAt(position + 3);
    if (source_.compare(position, 2, "%}") != 0) return 0;
    return position + 2 < source_.size() && source_[position + 2] == '\n' ? 3 : 2;
  }

  size_t VariableEndLength(size_t position) const {
    if (source_.compare(position, 3, "-}}") == 0) return 3 + SpacesAt(position + 3);
    return source_.compare(position, 2, "}}") == 0 ? 2 : 0;
  }

  void LexTag(size_t opening, TokenType begin, TokenType end) {
    const int start_line = line_;
    Push(begin, "");
    Advance(opening);
    brackets_.clear();
    while (position_ < source_.size()) {
      if (brackets_.empty()) {
        const size_t length =
            end == TokenType::kBlockEnd ? BlockEndLength(position_) : VariableEndLength(position_);
        if (length > 0) {
          Push(end, "");
          Advance(length);
          return;
        }
      }
      if (const size_t spaces = SpacesAt(position_); spaces > 0) {
        Advance(spaces);
      } else {
        LexExpressionToken();
      }
    }
    FailAtLine(start_line, std::string("a tag is not closed: '") +
                               (end == TokenType::kBlockEnd ? "%}" : "}}") + "' is missing");
  }

  void LexExpressionToken() {
    const char c = source_[position_];
    if (IsDigitByte(c)) {
      LexNumber();
    } else if (IsNameByte(c)) {
      LexName();
    } else if (c == '\'' || c == '"') {
      LexString(c);
    } else {
      LexOperator();
    }
  }

  void LexName() {
    size_t end = position_;
    while (end < source_.size() && IsNameByte(source_[end])) ++end;
    const std::string_view name = std::string_view(source_).substr(position_, end - position_);
    for (size_t i = 0; i < name.size();) {
      const CodePoint c = Decode(name, i);
      if (c.value >= 0x80 && !IsWord(c.value))
        FailAtLine(line_, "a name holds a character that is no letter");
      i += c.bytes;
    }
    Push(TokenType::kName, std::string(name));
    Advance(name.size());
  }

  void LexString(char quote) {
    size_t end = position_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) FailAtLine(line_, "a string is not closed: its quote is missing");
    const std::string_view body =
        std::string_view(source_).substr(position_ + 1, end - position_ - 1);
    Push(TokenType::kString, Unescape(body, line_));
    Advance(end + 1 - position_);
  }

  // Digits with single underscores between them; the position behind.
  size_t SkipDigits(size_t at, bool (*is_digit)(char)) const {
    while (at < source_.size()) {
      if (is_digit(source_[at])) {
        ++at;
      } else if (source_[at] == '_' && at + 1 < source_.size() && is_digit(source_[at + 1])) {
        at += 2;
      } else {
        break;
      }
    }
    return at;
  }

  // The end of a float that begins here, or nothing when this is an integer.
  size_t FloatEnd() const {
    if (position_ > 0 && source_[position_ - 1] == '.') return 0;  // the 1 of `x.1.2`
    size_t end = SkipDigits(position_, IsDigitByte);
    bool is_float = false;
    if (end + 1 < source_.size() && source_[end] == '.' && IsDigitByte(source_[end + 1])) {
      end = SkipDigits(end + 1, IsDigitByte);
      is_float = true;
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t digits = end + 1;
      if (digits < source_.size() && (source_[digits] == '+' || source_[digits] == '-')) ++digits;
      if (digits < source_.size() && IsDigitByte(source_[digits])) {
        end = SkipDigits(digits, IsDigitByte);
        is_float = true;
      }
    }
    return is_float ? end : 0;
  }

  void LexNumber() {
    if (const size_t end = FloatEnd(); end != 0) {
      std::string digits = source_.substr(position_, end - position_);
      std::erase(digits, '_');
      Push(TokenType::kFloat, digits);
      tokens_.back().real = ParseFloatLiteral(digits);
      Advance(end - position_);
      return;
    }
    int base = 10;
    size_t start = position_;
    if (source_[position_] == '0' && position_ + 1 < source_.size()) {
      const char letter = static_cast<char>(source_[position_ + 1] | 0x20);
      const int prefixed = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
      const auto digit = DigitTest(prefixed);
      const size_t first =
          position_ + 2 + (position_ + 2 < source_.size() && source_[position_ + 2] == '_' ? 1 : 0);
      if (prefixed != 10 && first < source_.size() && digit(source_[first])) {
        base = prefixed;
        start = first;
      }
    }
    size_t end = SkipDigits(start, DigitTest(base));
    if (base == 10 && source_[start] == '0') {  // 0 stands alone: 007 is 0, 0, 7
      end = start + 1;
      while (end < source_.size() && source_[end] == '0') ++end;
    }
    std::string digits = source_.substr(start, end - start);
    std::erase(digits, '_');
    Push(TokenType::kInteger, digits);
    const auto result =
        std::from_chars(digits.data(), digits.data() + digits.size(), tokens_.back().integer, base);
    if (result.ec != std::errc())
      FailAtLine(line_, "the number " + digits + " does not fit in 64 bits");
    Advance(end - position_);
  }

  static bool (*DigitTest(int base))(char) {
    switch (base) {
      case 16:
        return [](char c) { return IsDigitByte(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'); };
      case 8:
        return [](char c) { return c >= '0' && c <= '7'; };
      case 2:
        return [](char c) { return c == '0' || c == '1'; };
      default:
        return [](char c) { return IsDigitByte(c); };
    }
  }

  void LexOperator() {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const std::string_view op : kOperators) {
      if (!StartsWith(op)) continue;
      BalanceBrackets(op);
      Push(TokenType::kOperator, std::string(op));
      Advance(op.size());
      return;
    }
    FailAtLine(line_, "unexpected character " +
                          std::string(SplitCodePoints(Rest().substr(0, 4)).front()) + " in a tag");
  }

  void BalanceBrackets(std::string_view op) {
    const char c = op[0];
    if (c == '(' || c == '[' || c == '{') {
      brackets_ += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (brackets_.empty()) FailAtLine(line_, "unexpected '" + std::string(op) + "'");
      if (brackets_.back() != c) {
        FailAtLine(line_,
                   "unexpected '" + std::string(op) + "', expected '" + brackets_.back() + "'");
      }
      brackets_.pop_back();
    }
  }

  std::string source_;
  size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the last thing passed was a newline
  std::string brackets_;       // those still to be closed in this tag
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(std::string_view source) {
  return Lexer(NormalizeNewlines(source)).Run();
}

void FailAtLine(int line, const std::string& message) {
  Fail("line " + std::to_string(line) + " of the chat template: " + message);
}

}  // namespace millrace::jinja
