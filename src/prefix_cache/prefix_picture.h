// PrefixPicture: what a PrefixTree holds at one moment, to be drawn: blocks that follow each other
// without a branch are one run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/id.h"

namespace millrace {

struct PrefixRun {
  std::optional<size_t> before;  // the run that it continues; none: a prompt's beginning
  std::string space;             // its namespace
  int32_t tokens = 0;
  int32_t blocks = 0;
  int32_t in_use = 0;         // of them, those that a sequence holds just now
  bool pinned = false;        // all of it
  int64_t used = 0;           // a serial number: higher is later
  std::vector<TokenId> head;  // its first tokens, a block at most
};

// Each run stands behind the one that it continues.
struct PrefixPicture {
  std::vector<PrefixRun> runs;
  size_t left_out = 0;  // runs that are not shown
};

}  // namespace millrace
