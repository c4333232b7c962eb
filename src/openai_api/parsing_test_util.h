// What the tests of the request bodies share: a small valid body with one thing changed, parsed.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "openai_api/request_parser.h"

namespace millrace {

using nlohmann::json;

inline const json kUser = {{"role", "user"}, {"content", "hello"}};

inline json ChatBody(const json& change = json::object()) {
  json body = {{"messages", json::array({kUser})}};
  body.update(change);
  return body;
}

inline ApiResult<ChatRequest> ParseChat(const json& change,
                                        UnknownFields unknown = UnknownFields::kIgnore) {
  return ParseChatRequest(ChatBody(change).dump(), unknown);
}

inline ChatRequest Chat(const json& change) {
  auto parsed = ParseChat(change, UnknownFields::kRefuse);
  if (const auto* error = std::get_if<ApiError>(&parsed)) {
    ADD_FAILURE() << change << ": " << error->message;
    return {};
  }
  return std::get<ChatRequest>(std::move(parsed));
}

inline CompletionRequest Completion(const json& change) {
  json body = {{"prompt", "x"}};
  body.update(change);
  auto parsed = ParseCompletionRequest(body.dump(), UnknownFields::kRefuse);
  if (const auto* error = std::get_if<ApiError>(&parsed)) {
    ADD_FAILURE() << change << ": " << error->message;
    return {};
  }
  return std::get<CompletionRequest>(std::move(parsed));
}

template <class T>
ApiError ErrorOf(const ApiResult<T>& result, const std::string& what) {
  if (const auto* error = std::get_if<ApiError>(&result)) {
    EXPECT_EQ(error->status, 400) << what;
    EXPECT_EQ(error->type, "invalid_request_error") << what;
    EXPECT_FALSE(error->message.empty()) << what;
    EXPECT_LT(error->message.size(), 1000u) << what;
    return *error;
  }
  ADD_FAILURE() << what << " was accepted";
  return {};
}

inline ApiError ChatError(const json& change, UnknownFields unknown = UnknownFields::kIgnore) {
  return ErrorOf(ParseChat(change, unknown), change.dump().substr(0, 200));
}

inline ApiError CompletionError(const json& change) {
  json body = {{"prompt", "x"}};
  body.update(change);
  return ErrorOf(ParseCompletionRequest(body.dump(), UnknownFields::kIgnore),
                 change.dump().substr(0, 200));
}

inline ApiError RawError(std::string_view body) {
  return ErrorOf(ParseChatRequest(body, UnknownFields::kIgnore), std::string(body.substr(0, 200)));
}

}  // namespace millrace
