// A URL's query. Internal to server/.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>

namespace millrace::server_internal {

// What stands behind "name=", raw; nothing where the name is missing.
inline std::optional<std::string_view> QueryValue(std::string_view query, std::string_view name) {
  for (size_t at = 0; at < query.size();) {
    const size_t end = std::min(query.find('&', at), query.size());
    const std::string_view part = query.substr(at, end - at);
    at = end + 1;
    const size_t equals = part.find('=');
    if (equals != std::string_view::npos && part.substr(0, equals) == name)
      return part.substr(equals + 1);
  }
  return std::nullopt;
}

}  // namespace millrace::server_internal
