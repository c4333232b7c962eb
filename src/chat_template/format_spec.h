// A format specification of Python's mini-language, and numbers written by it: what format() and
// the two kinds of format strings share.
#pragma once

#include "chat_template/interpreter.h"

namespace millrace::jinja {

inline constexpr int64_t kMaxFormatWidth = 1 << 20;  // of one padded field

// [[fill]align][sign][#][0][width][,][.precision][type]
struct FormatSpec {
  std::string fill = " ";
  char align = '\0';
  char sign = '-';
  bool alternate = false;
  char grouping = '\0';
  int64_t width = 0;
  int64_t precision = -1;  // absent
  char type = '\0';
};

// Takes the digits that `text` begins with; 0 without any; over `limit` fails.
int64_t TakeNumber(std::string_view& text, int64_t limit);
std::string FormatInteger(Budget& budget, const FormatSpec& spec, int64_t value);
std::string FormatFloat(Budget& budget, const FormatSpec& spec, double value);

}  // namespace millrace::jinja
