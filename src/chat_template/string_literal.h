// Python's literals: escapes in strings, and what int() and float() accept in a text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::jinja {

// The body of a string literal with its escapes resolved, as Python's unicode-escape codec does; an
// unknown escape stays as it is. Throws with `line` for a malformed \x, \u, \U or \N.
std::string Unescape(std::string_view body, int line);

// Digits as from the lexer: infinity when out of range.
double ParseFloatLiteral(const std::string& digits);

// float("...") and int("...", base): surrounding white space, a sign and underscores between digits
// are allowed.
std::optional<double> ParsePythonFloat(std::string_view text);
std::optional<int64_t> ParsePythonInt(std::string_view text, int base);

}  // namespace millrace::jinja
