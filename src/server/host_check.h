// The names under which a server without API keys may be asked. Internal to server/.
//
// A web page can have the name of its own site resolved to this machine (DNS rebinding), and then
// read answers as if they were its site's: what keeps it out is that its requests carry that name
// in their Host header. Names that nobody can register for a site are this machine's or network's.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace millrace::server_internal {

// `host`: a Host header, with or without a port. True for IP addresses, names without a dot, names
// under localhost, local, internal and home.arpa (RFC 6761, 6762, 8375), and `allowed` ("*": any).
bool MayBeAskedAs(std::string_view host, std::span<const std::string> allowed);

}  // namespace millrace::server_internal
