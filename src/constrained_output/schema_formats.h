// The values of `format` that are enforced, as regular expressions: of what RFC 3339, 4122, 5321,
// 1123, 3986, 2673 and 4291 and ISO 8601 allow, the common forms.
#pragma once

#include <optional>
#include <string_view>

namespace millrace::constrained_internal {

// Anchored; nothing for an unknown format.
std::optional<std::string_view> PatternOfFormat(std::string_view format);
// For messages.
std::string_view KnownFormats();

}  // namespace millrace::constrained_internal
