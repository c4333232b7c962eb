// W3C Trace Context (www.w3.org/TR/trace-context, version 00): whose trace a request belongs to.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::server_internal {

struct TraceContext {
  std::string trace_id;   // 32 hexadecimal digits
  std::string parent_id;  // 16: the caller's span
};

// "00-TRACE-PARENT-FLAGS"; nothing for a value that is not well-formed, which is as good as none. A
// later version may have more behind it.
inline std::optional<TraceContext> ParseTraceParent(std::string_view value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  constexpr size_t kLength = 55;
  const auto hex = [&](size_t at, size_t count) {
    const std::string_view part = value.substr(at, count);
    return part.find_first_not_of(kDigits) == std::string_view::npos;
  };
  const auto zero = [&](size_t at, size_t count) {
    return value.substr(at, count).find_first_not_of('0') == std::string_view::npos;
  };
  if (value.size() < kLength || value[2] != '-' || value[35] != '-' || value[52] != '-') return {};
  if (!hex(0, 2) || !hex(3, 32) || !hex(36, 16) || !hex(53, 2)) return {};
  if (value.substr(0, 2) == "ff" || zero(3, 32) || zero(36, 16)) return {};
  if (value.size() > kLength && (value.substr(0, 2) == "00" || value[kLength] != '-')) return {};
  return TraceContext{std::string(value.substr(3, 32)), std::string(value.substr(36, 16))};
}

}  // namespace millrace::server_internal
