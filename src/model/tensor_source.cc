#include "model/tensor_source.h"

#include <cstring>

#include "base/float16.h"
#include "model/weight_cache.h"

namespace millrace {
namespace {

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t n : shape) text += (text.empty() ? "" : " x ") + std::to_string(n);
  return "[" + text + "]";
}

}  // namespace

Result<const GgufTensor*> TensorSource::Find(const std::string& name,
                                             const std::vector<int64_t>& shape) const {
  const GgufTensor* tensor = file_.FindTensor(name);
  if (tensor == nullptr) return Error{file_.name() + ": tensor '" + name + "' is missing"};
  std::vector<int64_t> found = tensor->shape;
  while (found.size() > shape.size() && found.back() == 1) found.pop_back();
  // A matrix of one row may be written as a vector.
  while (found.size() < shape.size()) found.push_back(1);
  if (found != shape) {
    return Error{file_.name() + ": tensor '" + name + "' has shape " + ShapeText(tensor->shape) +
                 ", expected " + ShapeText(shape)};
  }
  return tensor;
}

Result<WeightMatrix> TensorSource::Matrix(const std::string& name, int64_t rows,
                                          int64_t columns) const {
  ASSIGN_OR_RETURN(const GgufTensor* tensor, Find(name, {columns, rows}));
  auto matrix = MatrixOf(*tensor, rows, columns);
  if (!matrix.ok()) {
    return Error{file_.name() + ": tensor '" + name + "': " + matrix.error().message,
                 matrix.error().kind};
  }
  return matrix;
}

Result<std::vector<float>> TensorSource::Vector(const std::string& name, int64_t count) const {
  ASSIGN_OR_RETURN(const GgufTensor* tensor, Find(name, {count}));
  std::vector<float> out(static_cast<size_t>(count));
  const std::byte* bytes = tensor->data.data();
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t half = 0;
    switch (tensor->type) {
      case DType::kF32:
        std::memcpy(&out[i], bytes + 4 * i, 4);
        break;
      case DType::kF16:
        std::memcpy(&half, bytes + 2 * i, 2);
        out[i] = F16ToF32(half);
        break;
      case DType::kBF16:
        std::memcpy(&half, bytes + 2 * i, 2);
        out[i] = Bf16ToF32(half);
        break;
      default:
        return Error{file_.name() + ": tensor '" + name + "' has type " +
                         std::string(NameOf(tensor->type)) + "; a vector must be F32, F16 or BF16",
                     ErrorKind::kUnsupported};
    }
  }
  return out;
}

Result<std::vector<float>> TensorSource::Vector(Presence presence, const std::string& name,
                                                int64_t count) const {
  if (presence == Presence::kAbsent) return std::vector<float>();
  if (presence == Presence::kOptional && !Has(name)) return std::vector<float>();
  return Vector(name, count);
}

Result<WeightMatrix> TensorSource::MatrixOf(const GgufTensor& tensor, int64_t rows,
                                            int64_t columns) const {
  if (options_.storage == WeightStorage::kMapped) {
    return WeightMatrix::InPlace(tensor.type, rows, columns, tensor.data);
  }
  if (cache_ != nullptr) {
    return cache_->Find(std::string(tensor.name), tensor.type, rows, columns);
  }
  if (options_.mapped == nullptr) {
    return WeightMatrix::Pack(tensor.type, rows, columns, tensor.data, pool_);
  }
  const MappedGguf& mapped = *options_.mapped;
  auto packed =
      WeightMatrix::Pack(tensor.type, rows, columns, tensor.data, pool_,
                         [&mapped](std::span<const std::byte> part) { mapped.Release(part); });
  // Again as a whole: parts share pages with parts that were read later.
  mapped.Release(tensor.data);
  return packed;
}

}  // namespace millrace
