#include "openai_api/text_inputs.h"

#include <fmt/format.h>

#include "openai_api/generation_options.h"

namespace millrace::openai_internal {
namespace {

std::optional<int32_t> TokenNumber(const Json& value) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(kMaxInt32)) {
    return std::nullopt;
  }
  const auto number = value.get<int64_t>();
  if (number < 0 || number > kMaxInt32) return std::nullopt;
  return static_cast<int32_t>(number);
}

}  // namespace

std::optional<std::vector<TokenId>> TokenArray(const Json& array) {
  std::vector<TokenId> tokens;
  for (const Json& item : array) {
    const auto number = TokenNumber(item);
    if (!number) return std::nullopt;
    tokens.push_back(TokenId(*number));
  }
  return tokens;
}

void ParseTextInputs(Fields& fields, std::string_view name, std::vector<Prompt>& texts) {
  const Json* text = fields.Find(name);
  const auto wrong = [&] {
    fields.Fail(name,
                fmt::format("'{}' must be a string, an array of strings, an array of token ids, "
                            "or an array of such arrays, and not empty.",
                            name),
                text == nullptr ? "missing_required_parameter" : "invalid_type");
  };
  if (text == nullptr) return wrong();
  if (text->is_string()) {
    texts.emplace_back(text->get<std::string>());
    return;
  }
  if (!text->is_array() || text->empty()) return wrong();
  if (text->front().is_number()) {
    auto tokens = TokenArray(*text);
    if (!tokens) return wrong();
    texts.emplace_back(*std::move(tokens));
    return;
  }
  for (const Json& item : *text) {
    if (item.is_string()) {
      texts.emplace_back(item.get<std::string>());
    } else if (item.is_array() && !item.empty()) {
      auto tokens = TokenArray(item);
      if (!tokens) return wrong();
      texts.emplace_back(*std::move(tokens));
    } else {
      return wrong();
    }
  }
}

}  // namespace millrace::openai_internal
