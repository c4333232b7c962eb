// How an error travels inside this module: a Failure is thrown where it is noticed and turned into
// an Error at the two public functions, ChatTemplate::Parse and ChatTemplate::Render. It never
// crosses the module's border.
#pragma once

#include <string>
#include <utility>

#include "base/result.h"

namespace millrace::jinja {

struct Failure {
  std::string message;
  ErrorKind kind = ErrorKind::kInvalidArgument;
  bool verbatim = false;  // raise_exception(): the message is the template's own and gets no prefix
};

[[noreturn]] inline void Fail(std::string message) { throw Failure{std::move(message)}; }
[[noreturn]] inline void FailTooLarge(std::string message) {
  throw Failure{std::move(message), ErrorKind::kTooLarge};
}

}  // namespace millrace::jinja
