// AnswerReader: an answer's text, a piece at a time -> its reasoning, its content and its tool
// calls.
//
// Invariants: how the text is cut into pieces makes no difference to the parts, once neighbours of
// one kind are joined. Text is held back only as long as it may be the beginning of a marker, of a
// call, or space beside one. Nothing is lost but markers, what stands around a call's arguments,
// and space between the parts: what turns out to be no call, or the call of an unknown function,
// comes out as content, as it was written. A call begins once its name is known and its arguments
// have begun; what is wrong in arguments that have begun follows as it is, and where the answer is
// cut in the middle of a call, its arguments are what there is of them: the beginning of a JSON
// object. (So an answer that is collected is the same as one that is streamed. A value between tags
// that is no string is left out where it is cut: half a number is another one.)
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "answer_parts/answer_style.h"
#include "answer_parts/call_text.h"

namespace millrace {

struct AnswerPart {
  enum class Kind { kReasoning, kContent, kCall, kArguments };
  Kind kind = Kind::kContent;
  std::string text;  // of kCall the function's name; else what is added
  int call = 0;      // of kCall and kArguments: which one, from 0
  friend bool operator==(const AnswerPart&, const AnswerPart&) = default;
};

struct AnswerReading {
  std::optional<ReasoningMarkers> reasoning;  // none: it is left in the content
  bool in_reasoning = false;  // the prompt has opened the block; else the answer may begin with it
  ToolFormat format = ToolFormat::kJson;
  std::vector<std::string> functions;               // that may be called; none: calls are content
  std::shared_ptr<const FunctionTypes> types = {};  // of their arguments, for tagged calls

  bool reads_anything() const { return reasoning || !functions.empty(); }
};

class AnswerReader {
 public:
  explicit AnswerReader(AnswerReading reading);

  std::vector<AnswerPart> Take(std::string_view text);
  // What was held back, once no more text comes.
  std::vector<AnswerPart> Finish();

  int calls() const { return calls_; }  // begun so far
  // The block has been begun; it and what stood before it is over.
  bool has_reasoned() const { return has_reasoned_; }
  bool reasoning_is_over() const { return state_ != State::kStart && state_ != State::kReasoning; }

 private:
  enum class State {
    kStart,  // reasoning may begin
    kReasoning,
    kContent,
    kOpened,  // behind a call's marker
    kObject,  // within a call
    kAfterCall,
    kBroken,  // within arguments that are no JSON, and have been given out in part
  };
  // Each gives whether it went on: then the next may.
  bool Start();
  bool Reasoning();
  bool Content();
  bool ContentWithTools();
  bool Opened();
  bool Object();
  bool AfterCall();
  bool Broken();

  void Emit(AnswerPart::Kind kind, std::string_view text);
  std::string TakeFront(size_t bytes);
  void BeginCall();
  void TellArguments();
  void EndCall();
  void LeaveCall();
  void Reject();
  bool IsFunction(const std::string& name) const;
  bool JsonMayBegin(char c) const;

  const AnswerReading reading_;
  State state_;
  std::string pending_;  // not decided yet
  std::vector<AnswerPart> parts_;
  bool has_reasoned_ = false;
  bool at_block_begin_ = false;  // of the reasoning: space is left out
  bool content_begun_ = false;   // more than space since the beginning, or the last call
  std::string lead_;             // of the call that is being read: what stood before it
  bool has_marker_ = false;      // it, or one before it
  bool in_array_ = false;
  CallText call_;      // that is being read
  bool told_ = false;  // its beginning has been given out
  size_t told_bytes_ = 0;
  int calls_ = 0;
};

}  // namespace millrace
