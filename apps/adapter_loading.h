// LoRA adapters from the command line to a model.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/transformer.h"

namespace millrace {

// NAME=FILE[:SCALE] as it was written. A last part behind a colon that is a number is the scale.
struct AdapterArgument {
  std::string name;
  std::string file;
  float scale = 1.0f;
};
Result<AdapterArgument> ParseAdapterArgument(std::string_view argument);

// Whether the file says that it is an adapter, of whatever kind.
bool IsAdapter(const GgufFile& file);

// What they will take in memory, by their files; 0: there are none. Errors: a file that cannot be
// read.
Result<uint64_t> AdapterBytes(const std::vector<std::string>& arguments);

// Adds the adapters in order. Their identities are what keys and values depend on: the file's
// checksum and the scale. Refused: a name that is given twice, and what LoraAdapter::Load refuses;
// then those before are added.
Status AddAdapters(const std::vector<std::string>& arguments, Transformer& model);

}  // namespace millrace
