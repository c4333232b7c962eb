// ApiKeys: who may use the server, and how much.
//
// Only SHA-256 hashes of keys are kept (FIPS 180-4; keys are long random texts, so no slow hash is
// needed). Invariant: the time of a comparison depends on nothing but the number of keys and the
// length of a guess: the hash of a guess is compared with that of every key, over all its bytes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace {

using KeyHash = std::array<uint8_t, 32>;
KeyHash HashOfKey(std::string_view key);

// Of one key; 0: no limit of its own.
struct KeyLimits {
  int64_t requests_per_minute = 0;
  int64_t tokens_per_minute = 0;  // of prompts and answers
  int64_t requests = 0;           // generations under way at once
  int64_t tokens = 0;             // their prompt tokens, unless one request alone has more
};

struct ApiKey {
  KeyHash hash{};
  std::string id;    // of the hash: whose requests and cached prefixes are whose
  std::string name;  // for the log; the id's beginning where none is given
  KeyLimits limits;
};

class ApiKeys {
 public:
  ApiKeys() = default;  // everybody may
  explicit ApiKeys(std::vector<ApiKey> keys) : keys_(std::move(keys)) {}
  static ApiKeys Plain(const std::vector<std::string>& keys);  // without limits of their own

  bool empty() const { return keys_.empty(); }
  // The key of "Bearer KEY", the value of the header Authorization, or of x-api-key, whichever was
  // sent; none where it is missing or unknown. Valid as long as the ApiKeys.
  const ApiKey* Find(std::optional<std::string_view> authorization,
                     std::optional<std::string_view> x_api_key) const;

 private:
  std::vector<ApiKey> keys_;
};

// `key`: itself, or "sha256:" and 64 hexadecimal digits.
ApiKey MakeApiKey(std::string_view key);
// One key per line, as MakeApiKey takes it, and behind it, in any order: name=NAME,
// requests-per-minute=N, tokens-per-minute=N, concurrent=N, concurrent-tokens=N. Empty lines and
// lines that begin with # are left out. The error names the line, and no key.
Result<std::vector<ApiKey>> ParseKeyFile(std::string_view text);
// Whether an address is of this machine only: 127.0.0.0/8 or ::1.
bool IsLoopback(std::string_view address);

}  // namespace millrace
