// The tensor table of a GGUF file: names, shapes, types and offsets, checked, with the views of the
// data they describe.
#pragma once

#include <vector>

#include "gguf/byte_cursor.h"
#include "gguf/gguf.h"

namespace millrace::gguf_internal {

// Reads `count` records (already checked against the bytes left) that are followed by the data,
// which begins at the next multiple of `alignment`. Every tensor lies inside the file, aligned, and
// overlaps no other.
Result<std::vector<GgufTensor>> ReadTensorTable(ByteCursor& cursor, uint64_t count,
                                                uint64_t alignment);

}  // namespace millrace::gguf_internal
