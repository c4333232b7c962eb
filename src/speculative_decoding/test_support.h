// What the tests of the drafters share.
#pragma once

#include <initializer_list>
#include <vector>

#include "base/id.h"

namespace millrace {

inline std::vector<TokenId> Tokens(std::initializer_list<int32_t> ids) {
  std::vector<TokenId> tokens;
  for (const int32_t id : ids) tokens.emplace_back(id);
  return tokens;
}

}  // namespace millrace
