// Result<T>: a value, or an Error with a message meant for the user. No exceptions cross a module's
// border.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace millrace {

// What went wrong, coarsely: enough to choose an exit code or an HTTP status.
enum class ErrorKind {
  kInvalidArgument,  // the caller's input is wrong: HTTP 400
  kUnsupported,      // well-formed, but we cannot do it: HTTP 400
  kNotFound,         // HTTP 404
  kTooLarge,         // over a stated limit: HTTP 413, or 400 context_length_exceeded
  kExhausted,        // try again later: HTTP 429 or 503
  kIo,               // the operating system refused
  kInternal,         // ours: HTTP 500
};

struct Error {
  std::string message;  // one sentence for the user: what is wrong, where, and what to do
  ErrorKind kind = ErrorKind::kInvalidArgument;
};

// A value of T or an Error. Reading value() of an error is a broken invariant (CHECK), so test ok()
// first.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit by design
  Result(Error error)
      : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit by design

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    CHECK(ok());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    CHECK(ok());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    CHECK(ok());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const {
    CHECK(!ok());
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, Error> state_;
};

// Success without a value, or an Error.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}  // NOLINT: implicit by design

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const {
    CHECK(!ok());
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

}  // namespace millrace

#define MILLRACE_CONCAT_(a, b) a##b
#define MILLRACE_CONCAT(a, b) MILLRACE_CONCAT_(a, b)

// ASSIGN_OR_RETURN(auto x, Compute()): binds the value, or returns the error from the enclosing
// function.
#define ASSIGN_OR_RETURN(declaration, expression)                                                  \
  auto MILLRACE_CONCAT(result_, __LINE__) = (expression);                                          \
  if (!MILLRACE_CONCAT(result_, __LINE__).ok()) return MILLRACE_CONCAT(result_, __LINE__).error(); \
  declaration = std::move(MILLRACE_CONCAT(result_, __LINE__)).value()

// RETURN_IF_ERROR(Check()): returns the error of a Status or Result from the enclosing function.
#define RETURN_IF_ERROR(expression)                                         \
  do {                                                                      \
    if (auto status_ = (expression); !status_.ok()) return status_.error(); \
  } while (false)
