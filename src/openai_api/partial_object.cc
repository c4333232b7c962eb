#include "openai_api/partial_object.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>

namespace millrace::openai_internal {
namespace {

// How far a cut is taken back for one that can be closed: past a key, a number or an escape.
constexpr size_t kMostTakenBack = 500;

// What closes a text: the end of its string, and its brackets. None where it ends in a number or a
// word, which may be half of one.
std::optional<std::string> ClosersOf(std::string_view text) {
  std::string open;
  bool in_string = false, escaped = false;
  for (const char c : text) {
    if (in_string) {
      in_string = escaped || c != '"';
      escaped = !escaped && c == '\\';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      open += c == '{' ? '}' : ']';
    } else if (c == '}' || c == ']') {
      if (open.empty() || open.back() != c) return std::nullopt;
      open.pop_back();
    }
  }
  if (!in_string && (text.empty() || std::string_view("\"{}[]").find(text.back()) == text.npos)) {
    return std::nullopt;
  }
  if (in_string) open += '"';
  std::reverse(open.begin(), open.end());
  return open;
}

}  // namespace

Json PartialObject(std::string_view text) {
  const Json whole = Json::parse(text, nullptr, false);
  if (whole.is_object()) return whole;
  const size_t least = text.size() - std::min(text.size(), kMostTakenBack);
  for (size_t bytes = text.size(); bytes > least; --bytes) {
    std::string_view front = text.substr(0, bytes);
    const bool behind_comma = front.ends_with(',');  // then the value before it is whole
    auto closers = ClosersOf(front);
    if (behind_comma && !closers) {
      closers = ClosersOf(std::string(front) + "\"");
      if (closers) closers->erase(0, 1);
      front.remove_suffix(1);
    }
    if (!closers) continue;
    Json closed = Json::parse(std::string(front) + *closers, nullptr, false);
    if (closed.is_object()) return closed;
  }
  return Json::object();
}

}  // namespace millrace::openai_internal
