// The syntax of regular expressions; regex.h says which.
#pragma once

#include <string_view>

#include "base/result.h"
#include "constrained_output/expression.h"

namespace millrace::constrained_internal {

Result<Expression> ParseRegexSyntax(std::string_view pattern);

}  // namespace millrace::constrained_internal
