// Whether the code is built with the address or the thread sanitizer, under which it runs many
// times slower: tests then go through fewer cases of the same kinds.
#pragma once

namespace millrace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kUnderSanitizer = true;
#else
inline constexpr bool kUnderSanitizer = false;
#endif

}  // namespace millrace
