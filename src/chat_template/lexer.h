// Lexer: template source -> tokens, with Jinja's white space control as transformers sets it
// (trim_blocks and lstrip_blocks on, one newline at the end of the source dropped).
//
// Follows jinja2/lexer.py (3.1). Throws a Failure that names the line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::jinja {

enum class TokenType {
  kData,  // text outside of tags, after white space control
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,  // text: the string's value, escapes resolved
  kInteger,
  kFloat,
  kOperator,  // text: the operator itself
  kEnd,
};

struct Token {
  TokenType type;
  int line;
  std::string text;
  int64_t integer = 0;
  double real = 0;

  bool IsName(std::string_view name) const { return type == TokenType::kName && text == name; }
  bool IsOperator(std::string_view op) const { return type == TokenType::kOperator && text == op; }
};

// The last token is kEnd.
std::vector<Token> Tokenize(std::string_view source);

// "line 3: message" as a Failure.
[[noreturn]] void FailAtLine(int line, const std::string& message);

}  // namespace millrace::jinja
