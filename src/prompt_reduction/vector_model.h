// VectorModel: an embedding model as a store of passages sees it (src/embedding makes one).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace millrace {

// A store knows its model again by what the model makes of this text: a file's name or bytes may
// change where the vectors do not, and the other way round (another pooling).
inline constexpr char kVectorProbe[] =
    "The mill race carries water to the wheel; 37 sacks of flour were ground before noon.";

struct VectorModel {
  std::string name;          // for people
  int32_t width = 0;         // numbers of a vector, at least 1
  std::vector<float> probe;  // the vector of kVectorProbe
  // Vectors of length 1, one after the other: [texts, width]. May wait; an error where the model
  // cannot, or whoever asked has gone.
  std::function<Result<std::vector<float>>(std::span<const std::string> texts)> embed;
};

}  // namespace millrace
