#include "server/api_keys.h"

#include "http/message.h"

namespace millrace {
namespace {

bool EqualInConstantTime(std::string_view key, std::string_view guess) {
  unsigned difference = key.size() == guess.size() ? 0 : 1;
  for (size_t i = 0; i < guess.size(); ++i) {
    const char k = key.empty() ? '\0' : key[i % key.size()];
    difference |= static_cast<unsigned char>(k ^ guess[i]);
  }
  return difference == 0;
}

}  // namespace

bool ApiKeys::Allows(std::optional<std::string_view> authorization) const {
  if (keys_.empty()) return true;
  constexpr std::string_view kScheme = "Bearer ";
  if (!authorization || authorization->size() <= kScheme.size() ||
      !EqualsIgnoringCase(authorization->substr(0, kScheme.size()), kScheme)) {
    return false;
  }
  const std::string_view guess = authorization->substr(kScheme.size());
  bool allowed = false;
  for (const std::string& key : keys_) allowed |= EqualInConstantTime(key, guess);
  return allowed;
}

std::vector<std::string> ParseKeyFile(std::string_view text) {
  std::vector<std::string> keys;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (!line.empty() && line.front() != '#') keys.emplace_back(line);
  }
  return keys;
}

bool IsLoopback(std::string_view address) {
  return address.starts_with("127.") || address == "::1";
}

}  // namespace millrace
