// ApiKeys: who may use the server. Invariant: the time of a comparison depends on the lengths only,
// never on how much of a guess is right, nor on which key it resembles.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace {

class ApiKeys {
 public:
  ApiKeys() = default;  // everybody may
  explicit ApiKeys(std::vector<std::string> keys) : keys_(std::move(keys)) {}

  bool empty() const { return keys_.empty(); }
  // `authorization`: the header's value, "Bearer KEY". Always true without keys.
  bool Allows(std::optional<std::string_view> authorization) const;

 private:
  std::vector<std::string> keys_;
};

// One key per line; empty lines and lines that begin with # are left out.
std::vector<std::string> ParseKeyFile(std::string_view text);
// Whether an address is of this machine only: 127.0.0.0/8 or ::1.
bool IsLoopback(std::string_view address);

}  // namespace millrace
