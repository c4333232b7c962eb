// Markers in text that comes in pieces. Internal to answer_parts/.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace millrace::answer_internal {

inline constexpr std::string_view kSpace = " \n\r\t";
inline constexpr std::string_view kCallEnd = "</tool_call>";

inline size_t LeadingSpace(std::string_view text) {
  return std::min(text.find_first_not_of(kSpace), text.size());
}

inline std::string_view WithoutTrailingSpace(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

inline std::string_view WithoutSpace(std::string_view text) {
  return WithoutTrailingSpace(text.substr(LeadingSpace(text)));
}

// How many bytes of the end of `text` may be the beginning of `marker`.
inline size_t BytesOfPartialMarker(std::string_view text, std::string_view marker) {
  for (size_t n = std::min(text.size(), marker.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == marker.substr(0, n)) return n;
  }
  return 0;
}

// Less than the whole of it.
inline bool IsBeginningOf(std::string_view text, std::string_view whole) {
  return text.size() < whole.size() && whole.substr(0, text.size()) == text;
}

}  // namespace millrace::answer_internal
