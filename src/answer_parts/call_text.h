// CallText: a tool call in whatever form the model writes it, a byte at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "answer_parts/call_object.h"
#include "answer_parts/tagged_call.h"

namespace millrace {

class CallText {
 public:
  using Step = JsonCursor::Step;

  void BeginObject() { call_.emplace<CallObject>(); }
  void BeginTagged(ToolFormat format, std::shared_ptr<const FunctionTypes> types) {
    call_.emplace<TaggedCall>(format, std::move(types));
  }
  Step Take(char c) {
    return std::visit([&](auto& call) { return call.Take(c); }, call_);
  }
  const std::string& text() const {
    return std::visit([](const auto& call) -> const std::string& { return call.text(); }, call_);
  }
  const std::optional<std::string>& name() const {
    return std::visit(
        [](const auto& call) -> const std::optional<std::string>& { return call.name(); }, call_);
  }
  bool has_arguments() const {
    return std::visit([](const auto& call) { return call.has_arguments(); }, call_);
  }
  bool arguments_are_whole() const {
    return std::visit([](const auto& call) { return call.arguments_are_whole(); }, call_);
  }
  std::string_view arguments() const {
    return std::visit([](const auto& call) { return call.arguments(); }, call_);
  }

 private:
  std::variant<CallObject, TaggedCall> call_;
};

}  // namespace millrace
