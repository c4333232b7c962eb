// A LoRA adapter as PEFT saves it (adapter_config.json, adapter_model.safetensors) as a
// ModelSource: the GGUF adapter that llama.cpp's convert_lora_to_gguf.py makes of it, and
// LoraAdapter loads.
//
// Invariant: for every adapted matrix W, the loader's alpha / r * B A is PEFT's scaling * B A, in
// GGUF's order of rows (those of B are moved as the rows of llama's Q and K are). Where the file's
// one alpha does not say a pair's scaling (rank_pattern with rsLoRA, alpha_pattern), its B is
// scaled. An embedding's A is transposed, so that a token has a row.
#pragma once

#include <string>

#include "base/result.h"
#include "conversion/model_source.h"

namespace millrace {

// `base`: the model's Hugging Face folder (its config.json is enough), or its GGUF file, which the
// adapter's shapes are then checked against; empty: the folder that adapter_config.json names, if
// there is one of that name here. Nothing is downloaded.
//
// Errors, in one sentence: no PEFT adapter; another type than LORA; what a LoRA pair cannot say
// (DoRA, modules_to_save, trained tokens, biases, activated adapters, replicated layers, base
// weights that the initialisation has changed); matrices that the base model does not have; shapes
// and ranks that do not fit.
Result<ModelSource> SourceFromPeftAdapter(const std::string& folder, const std::string& base);

}  // namespace millrace
