#include "prompt_reduction/passage.h"

#include <algorithm>

namespace millrace {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Takes the digits that `text` begins with, and gives them without leading zeros.
std::string_view TakeDigits(std::string_view& text) {
  size_t end = 0;
  while (end < text.size() && IsDigit(text[end])) ++end;
  const std::string_view digits = text.substr(0, end);
  text.remove_prefix(end);
  return digits.substr(std::min(digits.find_first_not_of('0'), digits.size()));
}

}  // namespace

std::string NumberedLine(size_t number, std::string_view title, std::string_view text) {
  return "[" + std::to_string(number) + "] " + TitledText(title, text);
}

std::string TitledText(std::string_view title, std::string_view text) {
  std::string line;
  if (!title.empty()) line.append(title).append(": ");
  return line.append(text);
}

bool NaturallyLess(std::string_view a, std::string_view b) {
  while (!a.empty() && !b.empty()) {
    if (IsDigit(a[0]) && IsDigit(b[0])) {
      const std::string_view x = TakeDigits(a), y = TakeDigits(b);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
    } else {
      if (a[0] != b[0]) return static_cast<unsigned char>(a[0]) < static_cast<unsigned char>(b[0]);
      a.remove_prefix(1);
      b.remove_prefix(1);
    }
  }
  return a.empty() && !b.empty();
}

}  // namespace millrace
