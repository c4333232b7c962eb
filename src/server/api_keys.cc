#include "server/api_keys.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "http/message.h"

namespace millrace {
namespace {

constexpr std::string_view kHashMark = "sha256:";

std::string Hex(const KeyHash& hash) {
  std::string text;
  for (const uint8_t byte : hash) text += fmt::format("{:02x}", byte);
  return text;
}

std::optional<KeyHash> FromHex(std::string_view text) {
  KeyHash hash{};
  if (text.size() != 2 * hash.size()) return std::nullopt;
  for (size_t i = 0; i < hash.size(); ++i) {
    const char* begin = text.data() + 2 * i;
    const auto [end, error] = std::from_chars(begin, begin + 2, hash[i], 16);
    if (error != std::errc() || end != begin + 2) return std::nullopt;
  }
  return hash;
}

std::string_view NextWord(std::string_view& line) {
  constexpr std::string_view kBlank = " \t\r";
  line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
  const std::string_view word = line.substr(0, line.find_first_of(kBlank));
  line.remove_prefix(word.size());
  return word;
}

// "requests-per-minute=60"
Status TakeSetting(std::string_view word, ApiKey& key) {
  const size_t equals = word.find('=');
  const std::string_view name = word.substr(0, equals);
  const std::string_view value = equals == std::string_view::npos ? "" : word.substr(equals + 1);
  if (name == "name" && !value.empty()) {
    key.name = std::string(value);
    return {};
  }
  const std::pair<std::string_view, int64_t*> kNumbers[] = {
      {"requests-per-minute", &key.limits.requests_per_minute},
      {"tokens-per-minute", &key.limits.tokens_per_minute},
      {"concurrent", &key.limits.requests},
      {"concurrent-tokens", &key.limits.tokens}};
  for (const auto& [known, target] : kNumbers) {
    if (name != known) continue;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), *target);
    if (error == std::errc() && end == value.data() + value.size() && *target >= 0) return {};
    return Error{fmt::format("{} must be a number of at least 0", known)};
  }
  return Error{
      "behind a key may stand name=, requests-per-minute=, tokens-per-minute=, concurrent= and "
      "concurrent-tokens="};
}

}  // namespace

KeyHash HashOfKey(std::string_view key) {
  KeyHash hash;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), hash.data());
  return hash;
}

const ApiKey* ApiKeys::Find(std::optional<std::string_view> authorization,
                            std::optional<std::string_view> x_api_key) const {
  constexpr std::string_view kScheme = "Bearer ";
  std::string_view guess;
  if (authorization && authorization->size() > kScheme.size() &&
      EqualsIgnoringCase(authorization->substr(0, kScheme.size()), kScheme)) {
    guess = authorization->substr(kScheme.size());
  } else if (x_api_key && !x_api_key->empty()) {
    guess = *x_api_key;
  } else {
    return nullptr;
  }
  const KeyHash hash = HashOfKey(guess);
  const ApiKey* found = nullptr;
  for (const ApiKey& key : keys_) {
    if (CRYPTO_memcmp(key.hash.data(), hash.data(), hash.size()) == 0) found = &key;
  }
  return found;
}

ApiKeys ApiKeys::Plain(const std::vector<std::string>& keys) {
  std::vector<ApiKey> made;
  for (const std::string& key : keys) made.push_back(MakeApiKey(key));
  return ApiKeys(std::move(made));
}

ApiKey MakeApiKey(std::string_view key) {
  ApiKey result;
  const bool hashed = key.substr(0, kHashMark.size()) == kHashMark;
  const auto given = hashed ? FromHex(key.substr(kHashMark.size())) : std::nullopt;
  result.hash = given ? *given : HashOfKey(key);
  result.id = Hex(result.hash);
  result.name = "key-" + result.id.substr(0, 12);
  return result;
}

Result<std::vector<ApiKey>> ParseKeyFile(std::string_view text) {
  std::vector<ApiKey> keys;
  for (int number = 1; !text.empty(); ++number) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::string_view word = NextWord(line);
    if (word.empty() || word.front() == '#') continue;
    if (word.substr(0, kHashMark.size()) == kHashMark && !FromHex(word.substr(kHashMark.size()))) {
      return Error{
          fmt::format("line {}: behind {} must stand 64 hexadecimal digits", number, kHashMark)};
    }
    ApiKey key = MakeApiKey(word);
    for (auto setting = NextWord(line); !setting.empty(); setting = NextWord(line)) {
      if (const Status status = TakeSetting(setting, key); !status.ok()) {
        return Error{fmt::format("line {}: {}", number, status.error().message)};
      }
    }
    keys.push_back(std::move(key));
  }
  return keys;
}

bool IsLoopback(std::string_view address) {
  return address.starts_with("127.") || address == "::1";
}

}  // namespace millrace
