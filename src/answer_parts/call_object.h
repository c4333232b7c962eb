// CallObject: a tool call as models write it, {"name": ..., "arguments": {...}}, a byte at a time.
// "parameters" says the same as "arguments"; other members are passed over; arguments that are a
// string hold the object as a JSON text.
//
// Invariant: arguments() is the text of a JSON object, byte for byte as it was written, or the
// beginning of one as long as it is not whole.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "answer_parts/json_cursor.h"

namespace millrace {

class CallObject {
 public:
  using Step = JsonCursor::Step;

  // From the opening brace on. kWrong: it is no JSON, or no call; the byte is not part of text().
  Step Take(char c);
  const std::string& text() const { return text_; }
  const std::optional<std::string>& name() const { return name_; }
  bool has_arguments() const { return begun_ || decoded_; }
  bool arguments_are_whole() const { return end_ || decoded_; }
  std::string_view arguments() const;

 private:
  bool EndValue();

  JsonCursor cursor_;
  std::string text_;
  size_t string_at_ = 0;            // where the string of the outermost object began
  std::string key_;                 // of the member that is being read
  std::optional<size_t> value_at_;  // where its value began
  std::optional<std::string> name_;
  std::optional<size_t> begun_, end_;   // of the arguments, where they are an object
  std::optional<std::string> decoded_;  // where they are a string
};

}  // namespace millrace
