#include "openai_api/api_error.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace millrace {

std::string ToJson(const ApiError& error) {
  const auto text_or_null = [](const std::string& s) {
    return s.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(s);
  };
  const nlohmann::ordered_json out = {{"error",
                                       {{"message", error.message},
                                        {"type", error.type},
                                        {"param", text_or_null(error.param)},
                                        {"code", text_or_null(error.code)}}}};
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

ApiError BadField(std::string param, std::string message) {
  ApiError error;
  error.param = std::move(param);
  error.message = std::move(message);
  return error;
}

ApiError FromError(const Error& error) {
  ApiError out;
  out.message = error.message;
  switch (error.kind) {
    case ErrorKind::kInvalidArgument:
    case ErrorKind::kUnsupported:
      break;
    case ErrorKind::kTooLarge:
      out.code = "context_length_exceeded";
      out.param = "messages";
      break;
    case ErrorKind::kNotFound:
      out.status = 404;
      break;
    case ErrorKind::kExhausted:
      out.status = 503;
      out.type = "server_error";
      out.code = "overloaded";
      break;
    case ErrorKind::kIo:
    case ErrorKind::kInternal:
      out.status = 500;
      out.type = "server_error";
      break;
  }
  return out;
}

}  // namespace millrace
