// Which type each tensor of a quantised file gets: the usual mixes, by the names under which people
// know them. The same choices as llama.cpp's quantiser makes for dense models, so that sizes agree.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"
#include "conversion/model_source.h"

namespace millrace {

enum class FileType {
  kF32,
  kF16,
  kBF16,
  kQ8_0,
  kQ6_K,
  kQ5_K_M,
  kQ5_K_S,
  kQ4_K_M,
  kQ4_K_S,
  kQ4_0,
  kIQ4_NL,
  kIQ4_XS,
  kQ3_K_M,
  kQ2_K,
  kMXFP4,
};

struct FileTypeInfo {
  FileType type;
  std::string_view name;
  DType base;       // of most matrices
  uint32_t number;  // general.file_type
};
std::span<const FileTypeInfo> FileTypes();
// An unknown name is an error that lists the known ones. Q4_K means Q4_K_M, and so on.
Result<FileTypeInfo> ParseFileType(std::string_view name);

// --tensor PATTERN=TYPE: a tensor whose whole name the pattern matches (* any text, ? one
// character; a pattern without them matches any part of the name) gets this type.
struct TensorRule {
  std::string pattern;
  DType type = DType::kF32;
};
Result<TensorRule> ParseTensorRule(std::string_view text);
bool Matches(std::string_view pattern, std::string_view name);

// Whether the tensor is a matrix that is quantised at all (norms, biases and small ones are not).
bool IsQuantizable(const SourceTensor& tensor);

// The type for a row length that `wanted`'s blocks do not divide: the next that they do.
DType FittingType(DType wanted, int64_t row_length);

// The type of every tensor of the source, in its order. Errors: a rule that matches nothing, or
// names a type that does not fit.
Result<std::vector<DType>> ChooseTypes(const ModelSource& source, const FileTypeInfo& file_type,
                                       std::span<const TensorRule> rules, bool has_importance);

}  // namespace millrace
