#include "gguf/writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "base/check.h"

namespace millrace {
namespace {

using Bytes = std::vector<std::byte>;

static_assert(std::endian::native == std::endian::little, "GGUF is written by memcpy");

void AppendBytes(Bytes& out, const void* data, size_t size) {
  const auto* begin = static_cast<const std::byte*>(data);
  out.insert(out.end(), begin, begin + size);
}

template <class T>
void AppendScalar(Bytes& out, T value) {
  static_assert(std::is_arithmetic_v<T>);
  AppendBytes(out, &value, sizeof(T));
}

void AppendString(Bytes& out, std::string_view text) {
  AppendScalar(out, static_cast<uint64_t>(text.size()));
  AppendBytes(out, text.data(), text.size());
}

Bytes KindOnly(GgufKind kind) {
  Bytes out;
  AppendScalar(out, static_cast<uint32_t>(kind));
  return out;
}

template <class T>
Bytes EncodeScalar(GgufKind kind, T value) {
  Bytes out = KindOnly(kind);
  AppendScalar(out, value);
  return out;
}

Bytes ArrayHead(GgufKind elements, size_t count) {
  Bytes out = KindOnly(GgufKind::kArray);
  AppendScalar(out, static_cast<uint32_t>(elements));
  AppendScalar(out, static_cast<uint64_t>(count));
  return out;
}

int64_t TensorBytes(DType type, std::span<const int64_t> shape) {
  CHECK(!shape.empty() && shape.size() <= 4);
  int64_t bytes = RowBytes(type, shape[0]);
  for (int64_t size : shape) CHECK(size > 0);
  for (int64_t size : shape.subspan(1)) CHECK(!__builtin_mul_overflow(bytes, size, &bytes));
  return bytes;
}

// A file that is being written beside `path` and takes its place on Commit; else the destructor
// removes it.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path) : path_(std::move(path)) {}
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() {
    if (fd_ >= 0) close(fd_);
    if (!temporary_.empty()) unlink(temporary_.c_str());
  }

  Status Open() {
    constexpr int kAttempts = 1000;
    for (int i = 0; i < kAttempts; ++i) {
      const std::string name = fmt::format("{}.{}-{}.partial", path_, getpid(), i);
      fd_ = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd_ >= 0) {
        temporary_ = name;
        return {};
      }
      if (errno != EEXIST) break;
    }
    return Failed("create", errno);
  }

  Status Write(std::span<const std::byte> bytes) {
    constexpr size_t kMostAtOnce = size_t{1} << 30;
    while (!bytes.empty()) {
      const ssize_t written = write(fd_, bytes.data(), std::min(bytes.size(), kMostAtOnce));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return Failed("write", errno);
      if (written == 0) return Failed("write", EIO);
      bytes = bytes.subspan(static_cast<size_t>(written));
    }
    return {};
  }

  Status Commit() {
    if (fsync(fd_) != 0) return Failed("write", errno);
    const int closed = close(fd_);
    fd_ = -1;
    if (closed != 0) return Failed("write", errno);
    if (rename(temporary_.c_str(), path_.c_str()) != 0) return Failed("put in place", errno);
    temporary_.clear();
    return SyncDirectory();
  }

 private:
  Status Failed(std::string_view what, int code) const {
    return Error{fmt::format("Cannot {} {}: {}; nothing is left of the unfinished file.", what,
                             path_, std::generic_category().message(code)),
                 ErrorKind::kIo};
  }

  // So that the new name survives a power cut. The file is whole whatever this gives.
  Status SyncDirectory() {
    const std::string directory = std::filesystem::path(path_).parent_path().string();
    const int fd =
        open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    // Some file systems cannot sync a directory (EINVAL): then there is nothing more to do.
    const bool failed = fd < 0 || (fsync(fd) != 0 && errno != EINVAL);
    const int code = errno;
    if (fd >= 0) close(fd);
    if (!failed) return {};
    return Error{fmt::format("{} is written, but its directory cannot be made durable: {}.", path_,
                             std::generic_category().message(code)),
                 ErrorKind::kIo};
  }

  std::string path_;
  std::string temporary_;  // empty when there is none to remove
  int fd_ = -1;
};

}  // namespace

void GgufWriter::AddEntry(std::string_view key, std::vector<std::byte> encoded) {
  CHECK(!key.empty() && key.size() <= kGgufMaxNameBytes);
  for (const Entry& entry : entries_) CHECK(entry.key != key);
  entries_.push_back({std::string(key), std::move(encoded)});
}

void GgufWriter::AddU32(std::string_view key, uint32_t value) {
  if (key == "general.alignment") {
    CHECK(std::has_single_bit(value));
    alignment_ = value;
  }
  AddEntry(key, EncodeScalar(GgufKind::kU32, value));
}

void GgufWriter::AddU64(std::string_view key, uint64_t value) {
  AddEntry(key, EncodeScalar(GgufKind::kU64, value));
}

void GgufWriter::AddI32(std::string_view key, int32_t value) {
  AddEntry(key, EncodeScalar(GgufKind::kI32, value));
}

void GgufWriter::AddF32(std::string_view key, float value) {
  AddEntry(key, EncodeScalar(GgufKind::kF32, value));
}

void GgufWriter::AddBool(std::string_view key, bool value) {
  AddEntry(key, EncodeScalar(GgufKind::kBool, static_cast<uint8_t>(value)));
}

void GgufWriter::AddString(std::string_view key, std::string_view value) {
  Bytes encoded = KindOnly(GgufKind::kString);
  AppendString(encoded, value);
  AddEntry(key, std::move(encoded));
}

void GgufWriter::AddStrings(std::string_view key, std::span<const std::string_view> values) {
  Bytes encoded = ArrayHead(GgufKind::kString, values.size());
  for (std::string_view value : values) AppendString(encoded, value);
  AddEntry(key, std::move(encoded));
}

void GgufWriter::AddI32s(std::string_view key, std::span<const int32_t> values) {
  Bytes encoded = ArrayHead(GgufKind::kI32, values.size());
  AppendBytes(encoded, values.data(), values.size_bytes());
  AddEntry(key, std::move(encoded));
}

void GgufWriter::AddF32s(std::string_view key, std::span<const float> values) {
  Bytes encoded = ArrayHead(GgufKind::kF32, values.size());
  AppendBytes(encoded, values.data(), values.size_bytes());
  AddEntry(key, std::move(encoded));
}

void GgufWriter::AddRaw(std::string_view key, std::span<const std::byte> kind_and_value) {
  if (key == "general.alignment") return;
  CHECK(kind_and_value.size() > sizeof(uint32_t));
  AddEntry(key, Bytes(kind_and_value.begin(), kind_and_value.end()));
}

void GgufWriter::AddTensor(std::string_view name, DType type, std::span<const int64_t> shape,
                           std::span<const std::byte> data) {
  AddTensorEntry(
      {std::string(name), type, {shape.begin(), shape.end()}, data.size(), data, nullptr});
}

void GgufWriter::AddTensor(std::string_view name, DType type, std::span<const int64_t> shape,
                           std::function<void(std::span<std::byte>)> produce) {
  AddTensorEntry({std::string(name),
                  type,
                  {shape.begin(), shape.end()},
                  static_cast<size_t>(TensorBytes(type, shape)),
                  {},
                  std::move(produce)});
}

void GgufWriter::AddTensorEntry(Tensor tensor) {
  CHECK(!tensor.name.empty() && tensor.name.size() <= kGgufMaxNameBytes);
  for (const Tensor& other : tensors_) CHECK(other.name != tensor.name);
  CHECK(static_cast<int64_t>(tensor.bytes) == TensorBytes(tensor.type, tensor.shape));
  tensors_.push_back(std::move(tensor));
}

std::span<const std::byte> GgufWriter::DataOf(const Tensor& tensor, Bytes& scratch) {
  if (!tensor.produce) return tensor.data;
  scratch.resize(tensor.bytes);
  tensor.produce(scratch);
  return scratch;
}

std::vector<std::byte> GgufWriter::Header() const {
  Bytes out;
  AppendBytes(out, "GGUF", 4);
  AppendScalar(out, uint32_t{3});
  AppendScalar(out, static_cast<uint64_t>(tensors_.size()));
  AppendScalar(out, static_cast<uint64_t>(entries_.size()));
  for (const Entry& entry : entries_) {
    AppendString(out, entry.key);
    AppendBytes(out, entry.encoded.data(), entry.encoded.size());
  }
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    AppendString(out, tensor.name);
    AppendScalar(out, static_cast<uint32_t>(tensor.shape.size()));
    for (int64_t size : tensor.shape) AppendScalar(out, static_cast<uint64_t>(size));
    AppendScalar(out, static_cast<uint32_t>(tensor.type));
    AppendScalar(out, offset);
    offset += tensor.bytes + PaddingAfter(tensor.bytes);
  }
  out.resize(out.size() + PaddingAfter(out.size()));
  return out;
}

std::vector<std::byte> GgufWriter::Serialize() const {
  Bytes out = Header();
  Bytes scratch;
  for (const Tensor& tensor : tensors_) {
    const std::span<const std::byte> data = DataOf(tensor, scratch);
    AppendBytes(out, data.data(), data.size());
    out.resize(out.size() + PaddingAfter(data.size()));
  }
  return out;
}

size_t GgufWriter::tensor_bytes() const {
  size_t bytes = 0;
  for (const Tensor& tensor : tensors_) bytes += tensor.bytes;
  return bytes;
}

Status GgufWriter::WriteTo(const std::string& path) const {
  AtomicFile file(path);
  RETURN_IF_ERROR(file.Open());
  RETURN_IF_ERROR(file.Write(Header()));
  const Bytes padding(alignment_);
  Bytes scratch;
  for (const Tensor& tensor : tensors_) {
    RETURN_IF_ERROR(file.Write(DataOf(tensor, scratch)));
    const std::span<const std::byte> zeros(padding);
    RETURN_IF_ERROR(file.Write(zeros.first(PaddingAfter(tensor.bytes))));
  }
  return file.Commit();
}

}  // namespace millrace
