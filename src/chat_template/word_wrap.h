// textwrap.wrap of Python, as Jinja's wordwrap calls it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::jinja {

struct WrapStyle {
  int64_t width = 79;  // in code points, at least 1
  bool break_long_words = true;
  bool break_on_hyphens = true;
};

// The lines of one paragraph. Source of the rules: CPython's Lib/textwrap.py.
std::vector<std::string> WrapWords(std::string_view paragraph, const WrapStyle& style);

}  // namespace millrace::jinja
