#include "gguf/metadata.h"

#include <fmt/format.h>

#include <limits>

namespace millrace::gguf_internal {
namespace {

// Bytes of the smallest value of a kind; 0 for a number that is no kind.
uint64_t LeastBytes(uint32_t kind) {
  switch (static_cast<GgufKind>(kind)) {
    case GgufKind::kU8:
    case GgufKind::kI8:
    case GgufKind::kBool:
      return 1;
    case GgufKind::kU16:
    case GgufKind::kI16:
      return 2;
    case GgufKind::kU32:
    case GgufKind::kI32:
    case GgufKind::kF32:
      return 4;
    case GgufKind::kU64:
    case GgufKind::kI64:
    case GgufKind::kF64:
    case GgufKind::kString:
      return 8;
    case GgufKind::kArray:
      return 12;
  }
  return 0;
}

template <class T>
Result<int64_t> ReadWidened(ByteCursor& cursor, const Field& field) {
  const size_t start = cursor.offset();
  ASSIGN_OR_RETURN(const T value, cursor.Read<T>(field));
  if constexpr (std::is_same_v<T, uint64_t>) {
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return cursor.Damaged(field, start,
                            fmt::format("is {}, which is over 2^63 - 1; the file is damaged, "
                                        "download it again",
                                        value));
    }
  }
  return static_cast<int64_t>(value);
}

Result<int64_t> ReadInt(ByteCursor& cursor, GgufKind kind, const Field& field) {
  switch (kind) {
    case GgufKind::kU8:
      return ReadWidened<uint8_t>(cursor, field);
    case GgufKind::kI8:
      return ReadWidened<int8_t>(cursor, field);
    case GgufKind::kU16:
      return ReadWidened<uint16_t>(cursor, field);
    case GgufKind::kI16:
      return ReadWidened<int16_t>(cursor, field);
    case GgufKind::kU32:
      return ReadWidened<uint32_t>(cursor, field);
    case GgufKind::kI32:
      return ReadWidened<int32_t>(cursor, field);
    case GgufKind::kU64:
      return ReadWidened<uint64_t>(cursor, field);
    default:
      return ReadWidened<int64_t>(cursor, field);
  }
}

Result<double> ReadFloat(ByteCursor& cursor, GgufKind kind, const Field& field) {
  if (kind == GgufKind::kF64) return cursor.Read<double>(field);
  ASSIGN_OR_RETURN(const float value, cursor.Read<float>(field));
  return static_cast<double>(value);
}

Result<bool> ReadBool(ByteCursor& cursor, const Field& field) {
  const size_t start = cursor.offset();
  ASSIGN_OR_RETURN(const uint8_t value, cursor.Read<uint8_t>(field));
  if (value > 1) {
    return cursor.Damaged(field, start,
                          fmt::format("is {} where only 0 (false) and 1 (true) are allowed; the "
                                      "file is damaged, download it again",
                                      value));
  }
  return value == 1;
}

Result<std::string_view> ReadText(ByteCursor& cursor, const Field& field) {
  return cursor.ReadString(field, 0, std::numeric_limits<uint64_t>::max());
}

// `count` elements, each read by `read`; the count is checked against the bytes left already.
template <class T, class Read>
Result<GgufValue> ReadElements(uint64_t count, Read read) {
  std::vector<T> elements;
  elements.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(T element, read());
    elements.push_back(element);
  }
  return GgufValue(GgufArray(std::move(elements)));
}

class MetadataReader {
 public:
  explicit MetadataReader(ByteCursor& cursor) : cursor_(cursor) {}

  Result<GgufValue> ReadValue(uint32_t kind, const Field& field) {
    switch (static_cast<GgufKind>(kind)) {
      case GgufKind::kF32:
      case GgufKind::kF64: {
        ASSIGN_OR_RETURN(const double value,
                         ReadFloat(cursor_, static_cast<GgufKind>(kind), field));
        return GgufValue(value);
      }
      case GgufKind::kBool: {
        ASSIGN_OR_RETURN(const bool value, ReadBool(cursor_, field));
        return GgufValue(value);
      }
      case GgufKind::kString: {
        ASSIGN_OR_RETURN(const std::string_view value, ReadText(cursor_, field));
        return GgufValue(value);
      }
      case GgufKind::kArray:
        return ReadArray(field);
      default: {
        ASSIGN_OR_RETURN(const int64_t value, ReadInt(cursor_, static_cast<GgufKind>(kind), field));
        return GgufValue(value);
      }
    }
  }

 private:
  Result<GgufValue> ReadArray(const Field& field) {
    const size_t start = cursor_.offset();
    ASSIGN_OR_RETURN(const uint32_t number, cursor_.Read<uint32_t>(field));
    const auto kind = static_cast<GgufKind>(number);
    if (LeastBytes(number) == 0) {
      return cursor_.Damaged(field, start,
                             fmt::format("is an array of elements of unknown kind {} (known are 0 "
                                         "to 12); the file is damaged, download it again",
                                         number));
    }
    if (kind == GgufKind::kArray) {
      return cursor_.Damaged(field, start,
                             "is an array of arrays, which no model needs and Millrace does not "
                             "read");
    }
    const Field count_field{"the element count of metadata value", field.name};
    ASSIGN_OR_RETURN(const uint64_t count,
                     cursor_.ReadCount(count_field, LeastBytes(number), elements_left_));
    elements_left_ -= count;
    switch (kind) {
      case GgufKind::kF32:
      case GgufKind::kF64:
        return ReadElements<double>(count, [&] { return ReadFloat(cursor_, kind, field); });
      case GgufKind::kBool:
        return ReadElements<bool>(count, [&] { return ReadBool(cursor_, field); });
      case GgufKind::kString:
        return ReadElements<std::string_view>(count, [&] { return ReadText(cursor_, field); });
      default:
        return ReadElements<int64_t>(count, [&] { return ReadInt(cursor_, kind, field); });
    }
  }

  ByteCursor& cursor_;
  uint64_t elements_left_ = kGgufMaxArrayElements;
};

}  // namespace

Result<Metadata> ReadMetadata(ByteCursor& cursor, uint64_t count) {
  Metadata out;
  MetadataReader reader(cursor);
  for (uint64_t i = 0; i < count; ++i) {
    const size_t entry = cursor.offset();
    ASSIGN_OR_RETURN(const std::string_view key,
                     cursor.ReadString({"the key of metadata entry", {}, i}, 1, kGgufMaxNameBytes));
    const Field field{"metadata value", key};
    if (out.values.contains(key)) {
      return cursor.Damaged({"metadata key", key}, entry,
                            "stands in the file twice; the file is damaged, download it again");
    }
    const size_t start = cursor.offset();
    ASSIGN_OR_RETURN(const uint32_t kind, cursor.Read<uint32_t>(field));
    if (LeastBytes(kind) == 0) {
      return cursor.Damaged(field, start,
                            fmt::format("is of unknown kind {} (known are 0 to 12); the file is "
                                        "damaged, download it again",
                                        kind));
    }
    ASSIGN_OR_RETURN(GgufValue value, reader.ReadValue(kind, field));
    out.values.emplace(key, std::move(value));
    out.raw.emplace(key, cursor.bytes().subspan(start, cursor.offset() - start));
  }
  return out;
}

}  // namespace millrace::gguf_internal
