// Encoders of Hugging Face folders (bert, nomic_bert) as a ModelSource, with the pooling that
// sentence-transformers' files name, and the classifier of a cross-encoder. Internal to
// conversion/.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "conversion/hugging_face_tokenizer.h"
#include "conversion/model_source.h"

namespace millrace {

bool IsEncoderConfig(const nlohmann::json& config);

// Errors name the file and what is missing or not supported: another activation or position
// embedding than the architecture's own, a classifier of several outputs.
Result<ModelSource> SourceFromEncoder(const std::filesystem::path& folder,
                                      const TokenizerFiles& files);

}  // namespace millrace
