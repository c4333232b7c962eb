# One interface target carries the flags of every first-party target: warnings are errors, floating-point
# contraction is off (bit-exactness: a*b+c is two roundings unless the code says fma), sanitizers on request.
add_library(millrace_flags INTERFACE)
target_compile_options(
  millrace_flags
  INTERFACE -Wall
            -Wextra
            -Wshadow
            -Wnon-virtual-dtor
            -Woverloaded-virtual
            -Wimplicit-fallthrough
            -Werror
            -ffp-contract=off
            -fno-math-errno
            -fno-trapping-math)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 reports these falsely inside coroutines and std::optional.
  target_compile_options(millrace_flags INTERFACE -Wno-maybe-uninitialized -Wno-mismatched-new-delete)
endif()
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # A joined unit includes its .cc files, so that GCC takes their anonymous namespaces for a header's.
  target_compile_options(millrace_flags INTERFACE -Wno-subobject-linkage)
endif()
if(MILLRACE_SANITIZE STREQUAL "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC warns that the thread sanitizer does not see the fences that Asio counts references with.
  target_compile_options(millrace_flags INTERFACE -Wno-tsan)
endif()
if(MILLRACE_SANITIZE)
  target_compile_options(millrace_flags INTERFACE -fsanitize=${MILLRACE_SANITIZE} -fno-omit-frame-pointer
                                                  -fno-sanitize-recover=all)
  target_link_options(millrace_flags INTERFACE -fsanitize=${MILLRACE_SANITIZE})
endif()

find_program(MILLRACE_CCACHE ccache)
if(MILLRACE_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${MILLRACE_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${MILLRACE_CCACHE})
endif()
