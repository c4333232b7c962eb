#include "openai_api/api_error.h"

#include <nlohmann/json.hpp>

namespace millrace {

ApiError ToApiError(const Error& error) {
  ApiError result;
  result.message = error.message;
  switch (error.kind) {
    case ErrorKind::kInvalidArgument:
    case ErrorKind::kUnsupported:
      break;
    case ErrorKind::kNotFound:
      result.status = 404;
      result.code = "not_found";
      break;
    case ErrorKind::kTooLarge:
      result.code = "context_length_exceeded";
      break;
    case ErrorKind::kExhausted:
      result.status = 503;
      result.type = "server_error";
      result.code = "overloaded";
      break;
    case ErrorKind::kIo:
    case ErrorKind::kInternal:
      result.status = 500;
      result.type = "server_error";
      result.code = "internal_error";
      break;
  }
  return result;
}

ApiError HttpApiError(int status, std::string_view message) {
  ApiError result;
  result.status = status;
  result.message = std::string(message);
  if (status >= 500) result.type = "server_error";
  if (status == 404) result.code = "not_found";
  if (status == 405) result.code = "method_not_allowed";
  if (status == 413) result.code = "request_too_large";
  return result;
}

std::string ToJson(const ApiError& error) {
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(text);
  };
  nlohmann::ordered_json body;
  body["error"]["message"] = error.message;
  body["error"]["type"] = error.type;
  body["error"]["param"] = text_or_null(error.param);
  body["error"]["code"] = text_or_null(error.code);
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace millrace
