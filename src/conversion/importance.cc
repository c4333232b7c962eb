#include "conversion/importance.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>

#include "base/atomic_file.h"
#include "gguf/gguf.h"
#include "gguf/writer.h"

namespace millrace {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";
constexpr size_t kMostFileBytes = size_t{1} << 31;

Status CheckValues(const std::vector<float>& values, const std::string& tensor,
                   const std::string& name) {
  for (const float v : values) {
    if (!std::isfinite(v) || v < 0) {
      return Error{name + ": the importance of '" + tensor +
                   "' holds a value that is negative or not finite: measure it again"};
    }
  }
  return {};
}

Result<std::vector<float>> FloatsOf(const GgufTensor& t, const std::string& name) {
  if (t.type != DType::kF32) {
    return Error{name + ": '" + std::string(t.name) +
                 "' is not of type F32: it is no importance "
                 "matrix of a known form"};
  }
  std::vector<float> values(static_cast<size_t>(t.elements()));
  std::memcpy(values.data(), t.data.data(), t.data.size());
  return values;
}

Result<ImportanceMatrix> ParseGgufForm(std::span<const std::byte> bytes, const std::string& name) {
  ASSIGN_OR_RETURN(const GgufFile file, ParseGguf(bytes, name));
  ImportanceMatrix matrix;
  ASSIGN_OR_RETURN(const auto* datasets, file.FindStrings("imatrix.datasets"));
  if (datasets != nullptr) matrix.datasets.assign(datasets->begin(), datasets->end());
  ASSIGN_OR_RETURN(const auto chunk, file.FindInt("imatrix.chunk_size", 0, 1 << 30));
  if (chunk.value_or(0) > 0) matrix.chunk_rows = static_cast<int32_t>(*chunk);
  for (const GgufTensor& t : file.tensors()) {
    if (!t.name.ends_with(kSums)) continue;
    const std::string tensor(t.name.substr(0, t.name.size() - kSums.size()));
    const GgufTensor* counts = file.FindTensor(tensor + std::string(kCounts));
    if (counts == nullptr || counts->elements() != t.rows()) {
      return Error{name + ": the counts of '" + tensor + "' are missing or of the wrong size"};
    }
    ASSIGN_OR_RETURN(std::vector<float> sums, FloatsOf(t, name));
    ASSIGN_OR_RETURN(const std::vector<float> seen, FloatsOf(*counts, name));
    for (size_t i = 0; i < sums.size(); ++i) {
      const float count = seen[i / static_cast<size_t>(t.row_length())];
      sums[i] = count > 0 ? sums[i] / count : 1.0f;
    }
    RETURN_IF_ERROR(CheckValues(sums, tensor, name));
    const float rows = seen.empty() ? 0 : seen[0];
    matrix.tensors[tensor] = {std::move(sums),
                              rows > 0 && rows < 1e15f ? static_cast<int64_t>(rows) : 0};
  }
  return matrix;
}

// The older form: a count of entries; of each the name, the calls, and calls times the mean
// squares; then the chunks and the dataset's name.
class DatReader {
 public:
  DatReader(std::span<const std::byte> bytes, const std::string& name)
      : bytes_(bytes), name_(name) {}

  Result<ImportanceMatrix> Read() {
    ImportanceMatrix matrix;
    ASSIGN_OR_RETURN(const int32_t entries, Int(1, 1 << 20));
    for (int32_t e = 0; e < entries; ++e) {
      ASSIGN_OR_RETURN(const int32_t length, Int(1, 65535));
      ASSIGN_OR_RETURN(const std::string tensor, Text(length));
      ASSIGN_OR_RETURN(const int32_t calls, Int(0, INT32_MAX));
      ASSIGN_OR_RETURN(const int32_t count, Int(1, INT32_MAX));
      ASSIGN_OR_RETURN(const auto raw, Take(static_cast<size_t>(count) * 4));
      std::vector<float> values(static_cast<size_t>(count));
      std::memcpy(values.data(), raw.data(), raw.size());
      if (calls > 0) {
        for (float& v : values) v /= static_cast<float>(calls);
      }
      RETURN_IF_ERROR(CheckValues(values, tensor, name_));
      matrix.tensors[tensor] = {std::move(values), int64_t{calls} * matrix.chunk_rows};
    }
    if (bytes_.size() - at_ < 8) return matrix;  // the oldest files end here
    ASSIGN_OR_RETURN([[maybe_unused]] const int32_t chunks, Int(INT32_MIN, INT32_MAX));
    ASSIGN_OR_RETURN(const int32_t length, Int(0, 1 << 16));
    ASSIGN_OR_RETURN(std::string dataset, Text(length));
    if (!dataset.empty()) matrix.datasets.push_back(std::move(dataset));
    return matrix;
  }

 private:
  Result<std::span<const std::byte>> Take(size_t count) {
    if (count > bytes_.size() - at_) {
      return Error{name_ + ": the importance matrix ends early, at byte " +
                   std::to_string(bytes_.size()) + ": get the file again"};
    }
    const auto part = bytes_.subspan(at_, count);
    at_ += count;
    return part;
  }
  Result<int32_t> Int(int32_t low, int32_t high) {
    const size_t at = at_;
    ASSIGN_OR_RETURN(const auto raw, Take(4));
    int32_t value = 0;
    std::memcpy(&value, raw.data(), 4);
    if (value < low || value > high) {
      return Error{name_ + ": byte " + std::to_string(at) + " holds " + std::to_string(value) +
                   ", which cannot be: the file is no importance matrix, or damaged"};
    }
    return value;
  }
  Result<std::string> Text(int32_t length) {
    ASSIGN_OR_RETURN(const auto raw, Take(static_cast<size_t>(length)));
    return std::string(reinterpret_cast<const char*>(raw.data()), raw.size());
  }

  std::span<const std::byte> bytes_;
  const std::string& name_;
  size_t at_ = 0;
};

class DatWriter {
 public:
  void Int(int64_t value) {
    const auto narrow = static_cast<int32_t>(std::min<int64_t>(value, INT32_MAX));
    Append(&narrow, 4);
  }
  void Text(std::string_view text) {
    Int(static_cast<int64_t>(text.size()));
    Append(text.data(), text.size());
  }
  void Append(const void* data, size_t size) {
    const auto* p = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), p, p + size);
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

Status WriteDat(const ImportanceMatrix& matrix, const std::string& path) {
  DatWriter out;
  out.Int(static_cast<int64_t>(matrix.tensors.size()));
  int64_t chunks = 0;
  for (const auto& [tensor, entry] : matrix.tensors) {
    const int64_t calls =
        std::max<int64_t>(1, (entry.rows + matrix.chunk_rows - 1) / matrix.chunk_rows);
    chunks = std::max(chunks, calls);
    out.Text(tensor);
    out.Int(calls);
    out.Int(static_cast<int64_t>(entry.mean_squares.size()));
    for (const float v : entry.mean_squares) {
      const float scaled = v * static_cast<float>(calls);
      out.Append(&scaled, 4);
    }
  }
  out.Int(chunks);
  out.Text(matrix.datasets.empty() ? "" : matrix.datasets.back());
  return WriteAtomically(path, out.bytes());
}

Status WriteGgufForm(const ImportanceMatrix& matrix, const std::string& path) {
  GgufWriter writer;
  writer.AddString("general.type", "imatrix");
  const std::vector<std::string_view> datasets(matrix.datasets.begin(), matrix.datasets.end());
  writer.AddStrings("imatrix.datasets", datasets);
  int64_t chunks = 0;
  for (const auto& [tensor, entry] : matrix.tensors)
    chunks = std::max(chunks, entry.rows / matrix.chunk_rows);
  writer.AddU32("imatrix.chunk_count", static_cast<uint32_t>(chunks));
  writer.AddU32("imatrix.chunk_size", static_cast<uint32_t>(matrix.chunk_rows));
  std::vector<std::vector<float>> kept;
  kept.reserve(2 * matrix.tensors.size());
  for (const auto& [tensor, entry] : matrix.tensors) {
    const auto rows = static_cast<float>(std::max<int64_t>(entry.rows, 1));
    std::vector<float>& sums = kept.emplace_back(entry.mean_squares);
    for (float& v : sums) v *= rows;
    const int64_t shape[] = {static_cast<int64_t>(sums.size()), 1}, one[] = {1, 1};
    writer.AddTensor(tensor + std::string(kSums), DType::kF32, shape,
                     std::as_bytes(std::span(sums)));
    const std::vector<float>& count = kept.emplace_back(std::vector<float>{rows});
    writer.AddTensor(tensor + std::string(kCounts), DType::kF32, one,
                     std::as_bytes(std::span(count)));
  }
  return writer.WriteTo(path);
}

// The tensors that take an input.
std::vector<std::string> TensorsOf(ProductInput input, int32_t layer, bool tied) {
  const std::string blk = "blk." + std::to_string(layer) + ".";
  switch (input) {
    case ProductInput::kQkv:
      return {blk + "attn_q.weight", blk + "attn_k.weight", blk + "attn_v.weight"};
    case ProductInput::kAttentionOutput:
      return {blk + "attn_output.weight"};
    case ProductInput::kGateAndUp:
      return {blk + "ffn_gate.weight", blk + "ffn_up.weight"};
    case ProductInput::kDown:
      return {blk + "ffn_down.weight"};
    case ProductInput::kOutput:
      return {tied ? "token_embd.weight" : "output.weight"};
  }
  return {};
}

}  // namespace

std::span<const float> ImportanceMatrix::Find(std::string_view tensor) const {
  const auto it = tensors.find(tensor);
  if (it == tensors.end()) return {};
  return it->second.mean_squares;
}

Result<ImportanceMatrix> ParseImportance(std::span<const std::byte> bytes,
                                         const std::string& name) {
  if (bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0) {
    ASSIGN_OR_RETURN(ImportanceMatrix matrix, ParseGgufForm(bytes, name));
    if (matrix.tensors.empty()) return Error{name + " holds no importance: is it a model?"};
    return matrix;
  }
  return DatReader(bytes, name).Read();
}

Result<ImportanceMatrix> ReadImportance(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return Error{"cannot open " + path + ": is the name right?", ErrorKind::kNotFound};
  const std::streamoff size = file.tellg();
  if (size < 0 || static_cast<uint64_t>(size) > kMostFileBytes)
    return Error{path + " is too large for an importance matrix", ErrorKind::kTooLarge};
  std::vector<std::byte> bytes(static_cast<size_t>(size));
  file.seekg(0);
  if (!file.read(reinterpret_cast<char*>(bytes.data()), size))
    return Error{"cannot read " + path, ErrorKind::kIo};
  return ParseImportance(bytes, path);
}

Status WriteImportance(const ImportanceMatrix& matrix, ImportanceForm form,
                       const std::string& path) {
  return form == ImportanceForm::kDat ? WriteDat(matrix, path) : WriteGgufForm(matrix, path);
}

void ImportanceCollector::Observe(ProductInput input, int32_t layer,
                                  MatrixView<const float> activations) {
  Sums& sums = sums_[{input, layer}];
  sums.squares.resize(static_cast<size_t>(activations.columns));
  sums.rows += activations.rows;
  pool_.ParallelFor(activations.columns, 256, [&](int64_t begin, int64_t end) {
    for (int64_t r = 0; r < activations.rows; ++r) {
      const float* row = activations.row(r);
      for (int64_t c = begin; c < end; ++c) {
        sums.squares[static_cast<size_t>(c)] += static_cast<double>(row[c] * row[c]);
      }
    }
  });
}

ImportanceMatrix ImportanceCollector::Finish(std::string dataset) const {
  ImportanceMatrix matrix;
  matrix.datasets.push_back(std::move(dataset));
  for (const auto& [key, sums] : sums_) {
    if (sums.rows == 0) continue;
    ImportanceEntry entry;
    entry.rows = sums.rows;
    for (const double v : sums.squares)
      entry.mean_squares.push_back(static_cast<float>(v / static_cast<double>(sums.rows)));
    for (const std::string& tensor : TensorsOf(key.first, key.second, tied_))
      matrix.tensors[tensor] = entry;
  }
  return matrix;
}

}  // namespace millrace
