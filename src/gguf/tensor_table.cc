#include "gguf/tensor_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

namespace millrace::gguf_internal {
namespace {

constexpr uint64_t kMaxBytes = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
constexpr std::string_view kAgain = "; the file is damaged, download it again";

struct Record {
  GgufTensor tensor;
  size_t record_offset = 0;  // of the record in the file
  uint64_t offset = 0;       // of the data, from the beginning of the data section
  uint64_t bytes = 0;
};

// The names of types that exist but whose blocks we do not know, for the message.
std::string_view UnsupportedTypeName(uint32_t number) {
  switch (number) {
    case 16:
      return " (IQ2_XXS)";
    case 17:
      return " (IQ2_XS)";
    case 18:
      return " (IQ3_XXS)";
    case 19:
      return " (IQ1_S)";
    case 21:
      return " (IQ3_S)";
    case 22:
      return " (IQ2_S)";
    case 29:
      return " (IQ1_M)";
    case 34:
      return " (TQ1_0)";
    case 35:
      return " (TQ2_0)";
    default:
      return "";
  }
}

Status ReadShape(ByteCursor& cursor, std::string_view name, GgufTensor& tensor) {
  const size_t start = cursor.offset();
  const Field field{"the dimension count of tensor", name};
  ASSIGN_OR_RETURN(const uint32_t dimensions, cursor.Read<uint32_t>(field));
  if (dimensions < 1 || dimensions > 4) {
    return cursor.Damaged(field, start,
                          fmt::format("is {}, but must be 1 to 4{}", dimensions, kAgain));
  }
  const Field size_field{"the shape of tensor", name};
  uint64_t elements = 1;
  for (uint32_t d = 0; d < dimensions; ++d) {
    const size_t at = cursor.offset();
    ASSIGN_OR_RETURN(const uint64_t size, cursor.Read<uint64_t>(size_field));
    if (size == 0 || size > kMaxBytes / elements) {
      return cursor.Damaged(size_field, at,
                            fmt::format("has {} as dimension {}, which is {}{}", size, d,
                                        size == 0 ? "empty" : "more than memory can hold", kAgain));
    }
    elements *= size;
    tensor.shape.push_back(static_cast<int64_t>(size));
  }
  return {};
}

Result<uint64_t> ReadTypeAndSize(ByteCursor& cursor, std::string_view name, GgufTensor& tensor) {
  const size_t start = cursor.offset();
  const Field field{"the type of tensor", name};
  ASSIGN_OR_RETURN(const uint32_t number, cursor.Read<uint32_t>(field));
  const std::optional<DTypeInfo> info = FindDType(number);
  if (!info) {
    Error error = cursor.Damaged(
        field, start,
        fmt::format("is number {}{}, which Millrace does not know; use a file quantised to another "
                    "type, for example Q4_K or Q8_0",
                    number, UnsupportedTypeName(number)));
    error.kind = ErrorKind::kUnsupported;
    return error;
  }
  tensor.type = info->type;
  if (tensor.shape[0] % info->block_elements != 0) {
    return cursor.Damaged(field, start,
                          fmt::format("is {}, whose blocks have {} elements, but a row has {}{}",
                                      info->name, info->block_elements, tensor.shape[0], kAgain));
  }
  const uint64_t blocks = static_cast<uint64_t>(tensor.elements() / info->block_elements);
  const uint64_t block_bytes = static_cast<uint64_t>(info->block_bytes);
  if (blocks > kMaxBytes / block_bytes) {
    return cursor.Damaged({"the shape of tensor", name}, start,
                          fmt::format("needs more bytes than memory can hold{}", kAgain));
  }
  return blocks * block_bytes;
}

Result<Record> ReadRecord(ByteCursor& cursor, uint64_t index) {
  Record record;
  record.record_offset = cursor.offset();
  ASSIGN_OR_RETURN(record.tensor.name,
                   cursor.ReadString({"the name of tensor", {}, index}, 1, kGgufMaxNameBytes));
  const std::string_view name = record.tensor.name;
  RETURN_IF_ERROR(ReadShape(cursor, name, record.tensor));
  ASSIGN_OR_RETURN(record.bytes, ReadTypeAndSize(cursor, name, record.tensor));
  ASSIGN_OR_RETURN(record.offset, cursor.Read<uint64_t>({"the data offset of tensor", name}));
  return record;
}

// Sets each tensor's data, from where the data section begins.
Status PlaceTensors(const ByteCursor& cursor, uint64_t alignment, std::vector<Record>& records) {
  if (records.empty()) return {};
  const uint64_t file_bytes = cursor.bytes().size();
  // Cannot overflow: the offset is at most the size of something in memory, the alignment at most
  // 2^31.
  const uint64_t data_start = (cursor.offset() + alignment - 1) / alignment * alignment;
  for (Record& r : records) {
    const Field field{"the data offset of tensor", r.tensor.name};
    if (r.offset % alignment != 0) {
      return cursor.Damaged(field, r.record_offset,
                            fmt::format("is {}, which is no multiple of the alignment {}{}",
                                        r.offset, alignment, kAgain));
    }
    if (data_start > file_bytes || r.offset > file_bytes - data_start ||
        r.bytes > file_bytes - data_start - r.offset) {
      return cursor.Damaged({"tensor", r.tensor.name}, r.record_offset,
                            fmt::format("has {} bytes of data that begin {} bytes after byte {}, "
                                        "but the file has only {} bytes; it is cut off, download "
                                        "it again",
                                        r.bytes, r.offset, data_start, file_bytes));
    }
    r.tensor.data = cursor.bytes().subspan(data_start + r.offset, r.bytes);
  }
  return {};
}

Status CheckOverlaps(const ByteCursor& cursor, const std::vector<Record>& records) {
  std::vector<size_t> by_offset(records.size());
  std::iota(by_offset.begin(), by_offset.end(), size_t{0});
  std::sort(by_offset.begin(), by_offset.end(),
            [&](size_t a, size_t b) { return records[a].offset < records[b].offset; });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const Record& before = records[by_offset[i - 1]];
    const Record& after = records[by_offset[i]];
    if (before.offset + before.bytes > after.offset) {
      return cursor.Damaged({"tensor", after.tensor.name}, after.record_offset,
                            fmt::format("has data that overlap those of tensor {}{}",
                                        Quoted(before.tensor.name), kAgain));
    }
  }
  return {};
}

}  // namespace

Result<std::vector<GgufTensor>> ReadTensorTable(ByteCursor& cursor, uint64_t count,
                                                uint64_t alignment) {
  std::vector<Record> records;
  std::set<std::string_view> names;
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(Record record, ReadRecord(cursor, i));
    if (!names.insert(record.tensor.name).second) {
      return cursor.Damaged({"tensor", record.tensor.name}, record.record_offset,
                            fmt::format("stands in the file twice{}", kAgain));
    }
    records.push_back(std::move(record));
  }
  RETURN_IF_ERROR(PlaceTensors(cursor, alignment, records));
  RETURN_IF_ERROR(CheckOverlaps(cursor, records));
  std::vector<GgufTensor> tensors;
  tensors.reserve(records.size());
  for (Record& r : records) tensors.push_back(std::move(r.tensor));
  return tensors;
}

}  // namespace millrace::gguf_internal
