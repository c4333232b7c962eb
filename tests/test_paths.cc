#include "tests/test_paths.h"

namespace millrace {

std::string SourceDir() { return MILLRACE_SOURCE_DIR; }
std::string SharedDir() { return MILLRACE_SOURCE_DIR "/../shared"; }

}  // namespace millrace
