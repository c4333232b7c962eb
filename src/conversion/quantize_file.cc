#include "conversion/quantize_file.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "gguf/writer.h"
#include "quantization/block_formats.h"
#include "quantization/quantize.h"

namespace millrace {
namespace {

constexpr int64_t kSlabElements = int64_t{1} << 18;  // floats that a thread holds at a time

bool AllFinite(std::span<const float> values) {
  float poison = 0;
  for (const float v : values) poison += v * 0.0f;  // NaN from a NaN or an infinity
  return poison == 0;
}

// Converts the tensor; false where a value is not finite.
bool Convert(const SourceTensor& tensor, DType type, std::span<const float> importance,
             const FitKernels& kernels, ThreadPool& pool, std::span<std::byte> out) {
  if (tensor.plain() && tensor.type == type) {
    std::memcpy(out.data(), tensor.data.data(), out.size());
    return true;
  }
  const int64_t k = tensor.row_length();
  const auto row_bytes = static_cast<size_t>(RowBytes(type, k));
  const int64_t slab = std::max<int64_t>(1, kSlabElements / k);
  std::atomic<bool> finite{true};
  pool.ParallelFor(tensor.rows(), slab, [&](int64_t begin, int64_t end) {
    std::vector<float> values(static_cast<size_t>((end - begin) * k));
    tensor.Read(kernels, begin, end - begin, values);
    if (!AllFinite(values)) finite = false;
    QuantizeRows(kernels, type, values, importance,
                 out.subspan(static_cast<size_t>(begin) * row_bytes,
                             static_cast<size_t>(end - begin) * row_bytes));
  });
  return finite;
}

Status CheckPlan(const ModelSource& source, const ConversionPlan& plan) {
  CHECK(plan.types.size() == source.tensors.size());
  size_t found = 0;
  for (size_t i = 0; i < source.tensors.size(); ++i) {
    const SourceTensor& t = source.tensors[i];
    const DType type = plan.types[i];
    const bool same = t.plain() && t.type == type;
    if (!same && (!CanQuantize(type) || !CanDequantize(t.type))) {
      return Error{"tensor '" + t.name + "' is of type " + std::string(NameOf(t.type)) +
                       ", which cannot become " + std::string(NameOf(type)),
                   ErrorKind::kUnsupported};
    }
    if (t.row_length() % InfoOf(type).block_elements != 0) {
      return Error{"tensor '" + t.name + "' has rows of " + std::to_string(t.row_length()) +
                   " elements, which " + std::string(NameOf(type)) + " cannot hold"};
    }
    if (plan.importance == nullptr) continue;
    const auto importance = plan.importance->Find(t.name);
    if (importance.empty()) continue;
    ++found;
    if (static_cast<int64_t>(importance.size()) != t.row_length()) {
      return Error{"the importance of '" + t.name + "' has " + std::to_string(importance.size()) +
                   " columns and the tensor " + std::to_string(t.row_length()) +
                   ": it was measured on another model"};
    }
  }
  if (plan.importance != nullptr && found == 0) {
    return Error{
        "the importance matrix names none of this model's tensors: it was measured on "
        "another model"};
  }
  return {};
}

bool IsReplaced(std::string_view key) {
  return key == "general.file_type" || key == "general.quantization_version" ||
         key.starts_with("quantize.imatrix.");
}

void AddMetadata(const ModelSource& source, const ConversionPlan& plan, GgufWriter& writer) {
  for (const ModelSource::Entry& entry : source.metadata) {
    if (!IsReplaced(entry.key)) writer.AddRaw(entry.key, entry.kind_and_value);
  }
  if (plan.file_type) writer.AddU32("general.file_type", *plan.file_type);
  writer.AddU32("general.quantization_version", 2);
  if (plan.importance == nullptr) return;
  if (!plan.importance->datasets.empty())
    writer.AddString("quantize.imatrix.dataset", plan.importance->datasets.front());
  writer.AddI32("quantize.imatrix.entries_count",
                static_cast<int32_t>(plan.importance->tensors.size()));
}

}  // namespace

int64_t ConvertedBytes(const SourceTensor& tensor, DType type) {
  return RowBytes(type, tensor.row_length()) * tensor.rows();
}

void ConvertTensor(const SourceTensor& tensor, DType type, std::span<const float> importance,
                   const FitKernels& kernels, ThreadPool& pool, std::span<std::byte> out) {
  Convert(tensor, type, importance, kernels, pool, out);
}

Status WriteConverted(const ModelSource& source, const ConversionPlan& plan,
                      const FitKernels& kernels, ThreadPool& pool, const std::string& path,
                      const OnConversionProgress& progress) {
  RETURN_IF_ERROR(CheckPlan(source, plan));
  GgufWriter writer;
  AddMetadata(source, plan, writer);
  ConversionProgress state;
  state.tensors = source.tensors.size();
  for (size_t i = 0; i < source.tensors.size(); ++i)
    state.bytes += ConvertedBytes(source.tensors[i], plan.types[i]);
  for (size_t i = 0; i < source.tensors.size(); ++i) {
    const SourceTensor& t = source.tensors[i];
    const DType type = plan.types[i];
    const auto importance =
        plan.importance != nullptr ? plan.importance->Find(t.name) : std::span<const float>();
    writer.AddTensor(t.name, type, t.shape,
                     [&, importance, type](std::span<std::byte> out) -> Status {
                       if (progress) progress(state);
                       const bool finite = Convert(t, type, importance, kernels, pool, out);
                       if (source.release) source.release(t.data);
                       ++state.tensors_done;
                       state.bytes_done += static_cast<int64_t>(out.size());
                       if (finite) return {};
                       return Error{"tensor '" + t.name + "' of " + source.name +
                                    " holds values that are not finite: the file is damaged"};
                     });
  }
  RETURN_IF_ERROR(writer.WriteTo(path));
  if (progress) progress(state);
  return {};
}

}  // namespace millrace
