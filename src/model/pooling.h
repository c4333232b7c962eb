// Pooling: how the rows of a text's hidden state become one vector.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"

namespace millrace {

class GgufFile;

enum class Pooling {
  kMean,  // of all rows
  kCls,   // the first row
  kLast,  // the last row
  kRank,  // the first row, on which a classifier's head makes a score
};
std::string_view NameOf(Pooling pooling);  // "mean", "cls", "last", "rank"

// "<architecture>.pooling_type" with GGUF's numbers; nothing where the file does not say, or says
// "none". An unknown number is an error.
Result<std::optional<Pooling>> ReadPooling(const GgufFile& file, const std::string& architecture);

}  // namespace millrace
