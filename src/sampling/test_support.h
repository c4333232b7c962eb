// What the tests of sampling share.
#pragma once

#include <limits>

namespace millrace {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace millrace
