// A Hugging Face folder (config.json, tokenizer.json, *.safetensors) as a ModelSource: llama,
// qwen2, qwen3 and gemma3 (text), and the encoders bert and nomic_bert.
//
// Invariant: the result is what a GGUF converter would have written: GGUF's names and order of
// dimensions, the rows of llama's Q and K in the order of adjacent-pair rope, gemma's norms plus
// one. Weights stay in the mapped files and are read row by row.
#pragma once

#include <string>

#include "base/result.h"
#include "conversion/model_source.h"

namespace millrace {

// Errors name the file and what is missing or not supported.
Result<ModelSource> SourceFromHuggingFace(const std::string& folder);

}  // namespace millrace
