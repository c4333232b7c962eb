#include "gguf/gguf.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>

#include "gguf/byte_cursor.h"
#include "gguf/metadata.h"
#include "gguf/tensor_table.h"

namespace millrace {
namespace {

using gguf_internal::ByteCursor;
using gguf_internal::Quoted;

constexpr uint64_t kLeastEntryBytes = 8 + 1 + 4 + 1;  // key length, key, kind, value
constexpr uint64_t kLeastTensorBytes =
    8 + 1 + 4 + 8 + 4 + 8;  // name, count, one dimension, type, offset
constexpr int64_t kMaxAlignment = int64_t{1} << 31;

// What a file that does not begin with "GGUF" probably is.
std::string_view GuessFormat(std::string_view start) {
  if (start.starts_with("version https://git-lfs")) {
    return "it is a Git LFS pointer; run `git lfs pull` to get the file itself";
  }
  if (start.starts_with("PK\x03\x04")) return "it is a zip archive, perhaps a PyTorch checkpoint";
  if (start.starts_with("tjgg") || start.starts_with("fmgg") || start.starts_with("lmgg")) {
    return "it is in the GGML format of before GGUF; convert it with llama.cpp's tools";
  }
  if (start.starts_with("FUGG")) return "it is a big-endian GGUF file; use a little-endian one";
  if (start.starts_with("<!") || start.starts_with("<html")) {
    return "it is a web page, perhaps an error of the download; download it again";
  }
  if (start.size() > 8 && start.substr(8).starts_with("{\"")) {
    return "it may be a safetensors file; convert it with llama.cpp's tools";
  }
  return "it does not begin with \"GGUF\"; give the path of a model in that format";
}

Result<uint32_t> ReadVersion(ByteCursor& cursor) {
  const std::string_view start(reinterpret_cast<const char*>(cursor.bytes().data()),
                               cursor.bytes().size());
  if (start.empty()) return Error{fmt::format("{} is empty; download it again.", cursor.file())};
  if (!start.starts_with("GGUF")) {
    return Error{fmt::format("{} is not a GGUF file: {} (byte offset 0, the magic number).",
                             cursor.file(), GuessFormat(start))};
  }
  RETURN_IF_ERROR(cursor.Read<uint32_t>({"the magic number"}));
  const gguf_internal::Field field{"the version"};
  ASSIGN_OR_RETURN(const uint32_t version, cursor.Read<uint32_t>(field));
  if (version == 2 || version == 3) return version;
  std::string problem;
  if (version != 0 && (version & 0xffff) == 0) {
    problem =
        "says that the file is big-endian, which Millrace does not read; use a little-endian "
        "file of the model";
  } else if (version == 1) {
    problem = "is 1, which is out of use; convert the file to version 3 with llama.cpp's tools";
  } else {
    problem = fmt::format("is {}, but Millrace reads 2 and 3", version);
  }
  Error error = cursor.Damaged(field, 4, problem);
  error.kind = ErrorKind::kUnsupported;
  return error;
}

template <class T>
const T* ValueAs(const GgufValue* value) {
  return value == nullptr ? nullptr : std::get_if<T>(value);
}

// Null when absent or of another type; the callers that care tell these apart.
Error Missing(const std::string& file, std::string_view key) {
  return Error{fmt::format(
      "{}: the metadata key {} is missing, which this model needs; use a complete file.", file,
      Quoted(key))};
}

}  // namespace

int64_t GgufTensor::elements() const { return shape[0] * rows(); }

int64_t GgufTensor::rows() const {
  int64_t product = 1;
  for (size_t d = 1; d < shape.size(); ++d) product *= shape[d];
  return product;
}

Result<GgufFile> ParseGguf(std::span<const std::byte> bytes, std::string name) {
  GgufFile file;
  file.bytes_ = bytes;
  file.name_ = std::move(name);
  ByteCursor cursor(bytes, file.name_);
  ASSIGN_OR_RETURN(file.version_, ReadVersion(cursor));
  ASSIGN_OR_RETURN(const uint64_t tensor_count,
                   cursor.ReadCount({"the tensor count"}, kLeastTensorBytes, kGgufMaxTensors));
  ASSIGN_OR_RETURN(
      const uint64_t entry_count,
      cursor.ReadCount({"the metadata count"}, kLeastEntryBytes, kGgufMaxMetadataKeys));
  ASSIGN_OR_RETURN(gguf_internal::Metadata metadata,
                   gguf_internal::ReadMetadata(cursor, entry_count));
  file.metadata_ = std::move(metadata.values);
  file.raw_values_ = std::move(metadata.raw);

  ASSIGN_OR_RETURN(const auto split_count, file.FindInt("split.count", 0, 65535));
  if (split_count.value_or(1) > 1) {
    return Error{fmt::format("{} is one of {} files of a split model (metadata key 'split.count'), "
                             "which Millrace does not read; join them with `llama-gguf-split "
                             "--merge`.",
                             file.name_, *split_count),
                 ErrorKind::kUnsupported};
  }
  ASSIGN_OR_RETURN(const auto alignment, file.FindInt("general.alignment", 1, kMaxAlignment));
  if (alignment) {
    if (!std::has_single_bit(static_cast<uint64_t>(*alignment))) {
      return file.WrongValue("general.alignment",
                             fmt::format("is {}, which is no power of two; the "
                                         "file is damaged, download it again",
                                         *alignment));
    }
    file.alignment_ = static_cast<uint32_t>(*alignment);
  }
  ASSIGN_OR_RETURN(file.tensors_,
                   gguf_internal::ReadTensorTable(cursor, tensor_count, file.alignment_));
  for (size_t i = 0; i < file.tensors_.size(); ++i) {
    file.tensor_by_name_.emplace(file.tensors_[i].name, i);
  }
  return file;
}

Error GgufFile::WrongValue(std::string_view key, std::string_view problem) const {
  const auto found = raw_values_.find(key);
  const size_t offset =
      found == raw_values_.end() ? 0 : static_cast<size_t>(found->second.data() - bytes_.data());
  return Error{fmt::format("{}: metadata value {} at byte offset {} {}.", name_, Quoted(key),
                           offset, problem)};
}

const GgufValue* GgufFile::Find(std::string_view key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

std::span<const std::byte> GgufFile::RawValue(std::string_view key) const {
  const auto found = raw_values_.find(key);
  return found == raw_values_.end() ? std::span<const std::byte>() : found->second;
}

const GgufTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto found = tensor_by_name_.find(name);
  return found == tensor_by_name_.end() ? nullptr : &tensors_[found->second];
}

Result<std::optional<int64_t>> GgufFile::FindInt(std::string_view key, int64_t low,
                                                 int64_t high) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<int64_t>();
  const auto* number = ValueAs<int64_t>(value);
  if (number == nullptr) return WrongValue(key, "is not an integer, but must be one");
  if (*number < low || *number > high) {
    return WrongValue(key, fmt::format("is {}, but must be {} to {}", *number, low, high));
  }
  return std::optional<int64_t>(*number);
}

Result<int64_t> GgufFile::RequireInt(std::string_view key, int64_t low, int64_t high) const {
  ASSIGN_OR_RETURN(const auto value, FindInt(key, low, high));
  if (!value) return Missing(name_, key);
  return *value;
}

Result<std::optional<double>> GgufFile::FindFloat(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<double>();
  if (const auto* integer = ValueAs<int64_t>(value)) {
    return std::optional<double>(static_cast<double>(*integer));
  }
  const auto* number = ValueAs<double>(value);
  if (number == nullptr) return WrongValue(key, "is not a number, but must be one");
  if (!std::isfinite(*number)) return WrongValue(key, "is not a finite number, but must be one");
  return std::optional<double>(*number);
}

Result<double> GgufFile::RequireFloat(std::string_view key) const {
  ASSIGN_OR_RETURN(const auto value, FindFloat(key));
  if (!value) return Missing(name_, key);
  return *value;
}

Result<std::optional<bool>> GgufFile::FindBool(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<bool>();
  const auto* flag = ValueAs<bool>(value);
  if (flag == nullptr) return WrongValue(key, "is not a truth value, but must be one");
  return std::optional<bool>(*flag);
}

Result<std::optional<std::string_view>> GgufFile::FindString(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<std::string_view>();
  const auto* text = ValueAs<std::string_view>(value);
  if (text == nullptr) return WrongValue(key, "is not a string, but must be one");
  return std::optional<std::string_view>(*text);
}

Result<std::string_view> GgufFile::RequireString(std::string_view key) const {
  ASSIGN_OR_RETURN(const auto value, FindString(key));
  if (!value) return Missing(name_, key);
  return *value;
}

template <class T>
Result<const std::vector<T>*> GgufFile::FindArray(std::string_view key,
                                                  std::string_view elements) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return static_cast<const std::vector<T>*>(nullptr);
  if (const auto* array = ValueAs<GgufArray>(value)) {
    if (const auto* typed = std::get_if<std::vector<T>>(array)) return typed;
  }
  return WrongValue(key, fmt::format("is not an array of {}, but must be one", elements));
}

Result<const std::vector<int64_t>*> GgufFile::FindInts(std::string_view key) const {
  return FindArray<int64_t>(key, "integers");
}

Result<const std::vector<double>*> GgufFile::FindFloats(std::string_view key) const {
  return FindArray<double>(key, "floating-point numbers");
}

Result<const std::vector<std::string_view>*> GgufFile::FindStrings(std::string_view key) const {
  return FindArray<std::string_view>(key, "strings");
}

}  // namespace millrace
