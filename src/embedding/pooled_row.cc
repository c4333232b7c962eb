#include "embedding/pooled_row.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "model/tensor_source.h"
#include "quantization/weight_matrix.h"

namespace millrace::embedding_internal {
namespace {

double DotInOrder(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
  return sum;
}

// All rows of a small matrix of any type.
Result<std::vector<float>> Floats(const TensorSource& source, const std::string& name, int64_t rows,
                                  int64_t columns) {
  ASSIGN_OR_RETURN(const WeightMatrix matrix, source.Matrix(name, rows, columns));
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (int64_t i = 0; i < rows; ++i) {
    matrix.DequantizeRow(i, std::span(values).subspan(static_cast<size_t>(i * columns),
                                                      static_cast<size_t>(columns)));
  }
  return values;
}

}  // namespace

void PoolRows(Pooling pooling, MatrixView<const float> rows, std::span<float> out) {
  if (pooling != Pooling::kMean) {
    std::copy_n(rows.row(pooling == Pooling::kLast ? rows.rows - 1 : 0), out.size(), out.begin());
    return;
  }
  std::vector<double> sum(out.size());
  for (int64_t i = 0; i < rows.rows; ++i) {
    for (size_t j = 0; j < out.size(); ++j) sum[j] += rows.row(i)[j];
  }
  for (size_t j = 0; j < out.size(); ++j)
    out[j] = static_cast<float>(sum[j] / static_cast<double>(rows.rows));
}

void Normalise(std::span<float> x) {
  const double norm = std::sqrt(DotInOrder(x, x));
  if (norm == 0) return;
  for (float& v : x) v = static_cast<float>(v / norm);
}

Result<RankHead> RankHead::Load(const GgufFile& file, int32_t width, ThreadPool& pool) {
  const WeightOptions options;
  const TensorSource source(file, pool, options, nullptr);
  RankHead head;
  if (source.Has("cls.weight")) {
    ASSIGN_OR_RETURN(head.pooler_, Floats(source, "cls.weight", width, width));
    ASSIGN_OR_RETURN(head.pooler_bias_, source.Vector(Presence::kOptional, "cls.bias", width));
  }
  const GgufTensor* output = file.FindTensor("cls.output.weight");
  if (output != nullptr && output->rows() > 1) {
    return Error{file.name() + ": the classifier has " + std::to_string(output->rows()) +
                     " outputs; a reranker that Millrace can use has one",
                 ErrorKind::kUnsupported};
  }
  ASSIGN_OR_RETURN(head.weight_, Floats(source, "cls.output.weight", 1, width));
  ASSIGN_OR_RETURN(const std::vector<float> bias,
                   source.Vector(Presence::kOptional, "cls.output.bias", 1));
  head.bias_ = bias.empty() ? 0.0f : bias[0];
  return head;
}

Result<RankHead> RankHead::LoadYesNo(const GgufFile& file, std::string_view architecture,
                                     int32_t width, ThreadPool& pool) {
  const std::string labels_key = std::string(architecture) + ".classifier.output_labels";
  ASSIGN_OR_RETURN(const auto* labels, file.FindStrings(labels_key));
  bool yes_first = true;
  if (labels != nullptr) {
    const auto are = [labels](std::string_view first, std::string_view second) {
      return labels->size() == 2 && (*labels)[0] == first && (*labels)[1] == second;
    };
    yes_first = are("yes", "no");
    if (!yes_first && !are("no", "yes")) {
      return Error{file.name() + ": '" + labels_key +
                       "' must be \"yes\" and \"no\" for a decoder that reranks",
                   ErrorKind::kUnsupported};
    }
  }
  const GgufTensor* output = file.FindTensor("cls.output.weight");
  if (output == nullptr || output->rows() != 2) {
    return Error{file.name() +
                     ": a decoder that reranks needs the tensor 'cls.output.weight' with two rows, "
                     "for \"yes\" and \"no\": convert the model with a converter that writes it",
                 ErrorKind::kUnsupported};
  }
  const WeightOptions options;
  const TensorSource source(file, pool, options, nullptr);
  ASSIGN_OR_RETURN(const auto rows, Floats(source, "cls.output.weight", 2, width));
  RankHead head;
  const auto n = static_cast<size_t>(width);
  for (size_t i = 0; i < n; ++i) {
    const float difference = rows[i] - rows[n + i];
    head.weight_.push_back(yes_first ? difference : -difference);
  }
  return head;
}

float RankHead::Score(std::span<const float> x) const {
  std::vector<float> pooled(x.begin(), x.end());
  for (size_t i = 0; i < pooled.size() && !pooler_.empty(); ++i) {
    const double bias = pooler_bias_.empty() ? 0.0 : pooler_bias_[i];
    const auto row = std::span(pooler_).subspan(i * x.size(), x.size());
    pooled[i] = static_cast<float>(std::tanh(DotInOrder(row, x) + bias));
  }
  return static_cast<float>(DotInOrder(weight_, pooled) + bias_);
}

}  // namespace millrace::embedding_internal
