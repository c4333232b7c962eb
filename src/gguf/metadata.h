// The metadata section of a GGUF file: `count` entries of key, kind and value.
#pragma once

#include <map>
#include <span>
#include <string_view>

#include "gguf/byte_cursor.h"
#include "gguf/gguf.h"

namespace millrace::gguf_internal {

struct Metadata {
  std::map<std::string_view, GgufValue> values;
  std::map<std::string_view, std::span<const std::byte>> raw;  // kind and value, as in the file
};

// Reads `count` entries (already checked against the bytes left) and leaves the cursor behind them.
Result<Metadata> ReadMetadata(ByteCursor& cursor, uint64_t count);

}  // namespace millrace::gguf_internal
