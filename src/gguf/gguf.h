// GGUF: bytes -> typed metadata and tensor views (versions 2 and 3, little-endian; specification:
// ggml/docs/gguf.md).
//
// Invariant of a parsed GgufFile: every view it hands out lies inside the bytes it was parsed from,
// every tensor's byte size follows from its checked shape and type, and offsets are aligned as the
// file says. Nothing is allocated from a number in the file before that number is checked against
// the bytes that are left. A damaged or hostile file gives one sentence that names the file, the
// field and the byte offset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"

namespace millrace {

// An array of metadata; one alternative per element kind of the format. Integers of all widths are
// widened to int64 (an unsigned 64-bit value over INT64_MAX is an error of the file), floats to
// double. Strings view the file's bytes.
using GgufArray = std::variant<std::vector<int64_t>, std::vector<double>, std::vector<bool>,
                               std::vector<std::string_view>>;
using GgufValue = std::variant<int64_t, double, bool, std::string_view, GgufArray>;

// The kinds of metadata values, with the file's numbers.
enum class GgufKind : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// What a file may hold; far above any real model, and low enough that no file can ask for much
// memory.
inline constexpr uint64_t kGgufMaxMetadataKeys = uint64_t{1} << 16;
inline constexpr uint64_t kGgufMaxTensors = uint64_t{1} << 17;
inline constexpr uint64_t kGgufMaxArrayElements = uint64_t{1} << 24;  // of all arrays together
inline constexpr uint64_t kGgufMaxNameBytes = 65535;                  // of a key or a tensor's name

struct GgufTensor {
  std::string_view name;
  DType type = DType::kF32;
  // As in the file: shape[0] is the contiguous dimension (a row's length); 1 to 4 long, each at
  // least 1.
  std::vector<int64_t> shape;
  std::span<const std::byte> data;  // exactly the tensor's bytes
  int64_t elements() const;
  int64_t row_length() const { return shape[0]; }  // K: the inputs of a weight matrix
  int64_t rows() const;                            // the product of the other dimensions
};

// The parsed file: views into bytes that the caller keeps alive (see MappedGguf for a file).
class GgufFile {
 public:
  // Typed access to metadata. `Find...` gives nothing when the key is absent and an error when it
  // has another type or is out of range; `Require...` makes absence an error that names the key.
  const GgufValue* Find(std::string_view key) const;
  Result<std::optional<int64_t>> FindInt(std::string_view key, int64_t low, int64_t high) const;
  Result<int64_t> RequireInt(std::string_view key, int64_t low, int64_t high) const;
  Result<std::optional<double>> FindFloat(
      std::string_view key) const;  // an integer value converts; NaN/inf: error
  Result<double> RequireFloat(std::string_view key) const;
  Result<std::optional<bool>> FindBool(std::string_view key) const;
  Result<std::optional<std::string_view>> FindString(std::string_view key) const;
  Result<std::string_view> RequireString(std::string_view key) const;
  // Null when absent. An error when the key is no array or has other elements.
  Result<const std::vector<int64_t>*> FindInts(std::string_view key) const;
  Result<const std::vector<double>*> FindFloats(std::string_view key) const;
  Result<const std::vector<std::string_view>*> FindStrings(std::string_view key) const;

  // The key's value as it stands in the file, its kind first: what GgufWriter::AddRaw takes to copy
  // metadata unchanged. Empty when the key is absent.
  std::span<const std::byte> RawValue(std::string_view key) const;

  const GgufTensor* FindTensor(std::string_view name) const;
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const std::map<std::string_view, GgufValue>& metadata() const { return metadata_; }
  uint32_t version() const { return version_; }
  uint32_t alignment() const { return alignment_; }
  const std::string& name() const { return name_; }  // the file's name for messages

 private:
  friend Result<GgufFile> ParseGguf(std::span<const std::byte>, std::string);
  Error WrongValue(std::string_view key, std::string_view problem) const;
  template <class T>
  Result<const std::vector<T>*> FindArray(std::string_view key, std::string_view elements) const;
  std::span<const std::byte> bytes_;
  std::string name_;
  uint32_t version_ = 0;
  uint32_t alignment_ = 32;
  std::map<std::string_view, GgufValue> metadata_;
  std::map<std::string_view, std::span<const std::byte>> raw_values_;
  std::vector<GgufTensor> tensors_;  // in file order
  std::map<std::string_view, size_t> tensor_by_name_;
};

// Pure: parses `bytes`, which must outlive the result. `name` stands in messages ("model.gguf").
Result<GgufFile> ParseGguf(std::span<const std::byte> bytes, std::string name);

namespace gguf_internal {
struct Unmap {
  size_t size = 0;
  void operator()(const std::byte* p) const;
};
}  // namespace gguf_internal

// Which version of a file was opened.
struct GgufFileIdentity {
  std::string path;  // as it was given
  uint64_t bytes = 0;
  int64_t modified_ns = 0;  // since the epoch
};

// A GGUF file mapped read-only, with what was parsed from it. Movable; the views stay valid as long
// as it lives. The file must not be cut short by another program meanwhile: reading past its new
// end would raise SIGBUS.
class MappedGguf {
 public:
  // Errors: kNotFound where there is no such file, kIo where the system refuses, else those of
  // ParseGguf.
  static Result<MappedGguf> Open(const std::string& path);
  // Over bytes that live elsewhere for ever (the embedded model).
  static Result<MappedGguf> FromStatic(std::span<const std::byte> bytes, std::string name);
  const GgufFile& file() const { return *file_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  // Nothing for static bytes.
  const std::optional<GgufFileIdentity>& identity() const { return identity_; }
  // Says that `part` (of bytes()) was read and is not needed soon, so that its pages stop counting
  // as this process's memory; reading it again brings them back. Nothing for static bytes. Safe
  // from several threads.
  void Release(std::span<const std::byte> part) const;

 private:
  MappedGguf() = default;
  std::unique_ptr<const std::byte, gguf_internal::Unmap> mapping_;
  std::span<const std::byte> bytes_;
  std::optional<GgufFileIdentity> identity_;
  std::unique_ptr<GgufFile> file_;
};

}  // namespace millrace
