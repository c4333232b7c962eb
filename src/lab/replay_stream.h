// An event stream of chat completions or completions, taken apart. Internal to lab/.
#pragma once

#include <string>
#include <vector>

#include "lab/replay.h"

namespace millrace::lab_internal {

// How many bytes of the body had come by when.
struct Arrived {
  size_t bytes = 0;
  double at = 0;
};

// Fills emissions, text, counts and, where the stream is not whole, failure.
void TakeApart(const std::string& body, const std::vector<Arrived>& arrived, ReplayAnswer& answer);

}  // namespace millrace::lab_internal
