// ApiError: what a client is told, in OpenAI's shape {"error": {"message", "type", "param", "code"}}.
#pragma once

#include <string>
#include <variant>

#include "base/result.h"

namespace millrace {

struct ApiError {
  int status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::string param;  // the field at fault; empty: null
  std::string code;   // "context_length_exceeded", "model_not_found"; empty: null
};

// A value, or what to tell the client.
template <class T>
using ApiResult = std::variant<T, ApiError>;

std::string ToJson(const ApiError& error);
// A wrong or missing field.
ApiError BadField(std::string param, std::string message);
// Maps the engine's and the template's errors to statuses; kTooLarge is a prompt over the context.
ApiError FromError(const Error& error);

}  // namespace millrace
