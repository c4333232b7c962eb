// ApiError: a refusal in OpenAI's shape, {"error": {"message", "type", "param", "code"}}, with its
// HTTP status.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"

namespace millrace {

struct ApiError {
  int status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::string param;                        // the field at fault; empty: null
  std::optional<int64_t> retry_after = {};  // seconds, where the refusal itself knows
  std::string code;  // "context_length_exceeded", "model_not_found"; empty: null
};

// A value, or what to tell the client.
template <class T>
using ApiResult = std::variant<T, ApiError>;

// Every kind of Error as a client should see it: kTooLarge becomes 400 context_length_exceeded,
// kExhausted 503.
ApiError ToApiError(const Error& error);
// What HTTP itself refuses: 404, 405, 408, 413, ...
ApiError HttpApiError(int status, std::string_view message);
std::string ToJson(const ApiError& error);

}  // namespace millrace
