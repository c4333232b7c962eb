#include "server/host_check.h"

#include <algorithm>

#include "http/message.h"

namespace millrace::server_internal {
namespace {

// Four numbers and dots; whoever sends something odd of the kind is no browser.
bool IsIpv4(std::string_view name) {
  return std::count(name.begin(), name.end(), '.') == 3 &&
         name.find_first_not_of("0123456789.") == std::string_view::npos;
}

}  // namespace

bool MayBeAskedAs(std::string_view host, std::span<const std::string> allowed) {
  if (host.starts_with('[')) return true;  // an IPv6 address
  std::string_view name = host.substr(0, host.rfind(':'));
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.find('.') == std::string_view::npos || IsIpv4(name)) return true;
  for (const std::string_view own : {".localhost", ".local", ".internal", ".home.arpa"}) {
    if (name.size() > own.size() && EqualsIgnoringCase(name.substr(name.size() - own.size()), own))
      return true;
  }
  return std::any_of(allowed.begin(), allowed.end(), [&](const std::string& one) {
    return one == "*" || EqualsIgnoringCase(one, name);
  });
}

}  // namespace millrace::server_internal
