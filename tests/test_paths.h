// Where tests and benchmarks find files. Behind functions, so that the tests themselves compile to
// the same objects in every checkout.
#pragma once

#include <string>

namespace millrace {

// The project's own root.
std::string SourceDir();
// The optional fixtures beside it; tests that need them skip where it is absent.
std::string SharedDir();

}  // namespace millrace
