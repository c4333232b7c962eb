// TaggedCall: a tool call that models write between tags, a byte at a time.
//
//   Qwen3-Coder:   <function=NAME> <parameter=KEY>\nVALUE\n</parameter> ... </function>
//   GLM 4.5, 4.6:  NAME <arg_key>KEY</arg_key> <arg_value>VALUE</arg_value> ... </tool_call>
//   Mistral (tokenizer v11 and later):  NAME[CALL_ID]ID[ARGS]{...}
//
// each behind the call's marker (CallMarker). Values without quotes become JSON by the types that
// the function's parameters have: a string that can be nothing else is passed on as it comes; any
// other value once it is whole, as the JSON that it is if its type is allowed (True, False and None
// count as JSON), else as a string.
//
// Invariant: arguments() is the text of a JSON object, or the beginning of one as long as the call
// is not whole, for calls of which `kWrong` was not said. Text that stands between the tags and
// means nothing is passed over, once the name is known.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "answer_parts/answer_style.h"
#include "answer_parts/json_cursor.h"
#include "constrained_output/argument_types.h"

namespace millrace {

using FunctionTypes = std::map<std::string, ArgumentTypes>;  // of a function's arguments

class TaggedCall {
 public:
  using Step = JsonCursor::Step;

  static constexpr size_t kMaxNameBytes = 128;

  // `format`: one whose IsTagged is true. Without types, or for a function that is not in them, any
  // argument may be anything.
  TaggedCall(ToolFormat format, std::shared_ptr<const FunctionTypes> types);

  // From behind the marker on. kWrong: it is no call; the byte is not part of text().
  Step Take(char c);
  const std::string& text() const { return text_; }
  const std::optional<std::string>& name() const { return name_; }
  bool has_arguments() const { return !arguments_.empty(); }
  bool arguments_are_whole() const { return whole_; }
  std::string_view arguments() const { return arguments_; }

 private:
  enum class State {
    kName,
    kCallId,  // up to [ARGS]
    kObject,  // Mistral's arguments
    kTags,    // between members
    kKey,
    kBehindKey,  // up to <arg_value>
    kValue,
  };
  Step Name(char c);
  Step MistralName(char c);
  Step CallId(char c);
  Step Object(char c);
  Step Tags(char c);
  Step Key(char c);
  Step BehindKey(char c);
  Step Value(char c);
  Step EndName(std::string_view name, State next);
  Step EndObject();
  void BeginValue();
  void TellText(size_t bytes);
  void EndValue();
  std::string AsJson(std::string_view value) const;

  ToolFormat format_;
  std::shared_ptr<const FunctionTypes> functions_;
  State state_ = State::kName;
  std::string text_;
  std::string read_;  // of the name, key, tag or value that is being read: not decided yet
  std::optional<std::string> name_;
  ArgumentTypes types_;
  std::string key_;
  bool value_begun_ = false;  // its first line end is behind
  JsonCursor cursor_;
  std::string arguments_;
  bool has_members_ = false;
  bool whole_ = false;
};

}  // namespace millrace
