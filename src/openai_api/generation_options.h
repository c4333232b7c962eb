// The fields that every request for text has: sampling, stop strings, streaming, Millrace's own.
// Internal to openai_api/.
#pragma once

#include <cstdint>
#include <limits>
#include <utility>

#include "openai_api/json_fields.h"
#include "openai_api/request_parser.h"

namespace millrace::openai_internal {

inline constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();

// `fewest`: tokens that may be asked for at least.
GenerationOptions ParseOptions(Fields& fields, int64_t fewest = 1);

// What a parser returns: the first error of `fields`, in strict mode one for an unknown field, or
// the value.
template <class T>
ApiResult<T> Finish(Fields& fields, UnknownFields unknown, T value) {
  if (unknown == UnknownFields::kRefuse) fields.RefuseOthers();
  if (!fields.ok()) return fields.error();
  return value;
}

}  // namespace millrace::openai_internal
