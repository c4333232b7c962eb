// What text.cc and text_case.cc share.
#pragma once

#include <utf8proc.h>

namespace millrace::jinja {

// What an invalid byte decodes to.
inline constexpr char32_t kReplacement = 0xFFFD;

inline bool IsContinuation(unsigned char byte) { return (byte & 0xC0u) == 0x80u; }

inline utf8proc_category_t CategoryOf(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

}  // namespace millrace::jinja
