// CHECK(condition): aborts with file and line when an invariant of ours is broken. Never reached by
// a user's input: that gives a Result. Always on, in release builds too; keep it out of inner
// loops.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace millrace::base_internal {
[[noreturn]] inline void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, condition);
  std::abort();
}
}  // namespace millrace::base_internal

#define CHECK(condition)                             \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::millrace::base_internal::CheckFailed(__FILE__, __LINE__, #condition))
