// What a Hugging Face config.json says of a text model, and where its tensors stand in GGUF: for
// models and for adapters of models. Internal to conversion/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace millrace {

struct HuggingFaceShape {
  std::string architecture;  // GGUF's: llama, qwen2, qwen3, gemma3
  int64_t layers = 0, width = 0, ff_width = 0, heads = 0, kv_heads = 0, head_dim = 0, vocab = 0;
  bool tied = false;  // the output matrix is the embedding

  // Errors name the key of config.json.
  static Result<HuggingFaceShape> Of(const nlohmann::json& config);
};

// config.json of a folder; of a model with other parts, the text model's.
Result<nlohmann::json> ReadTextConfig(const std::filesystem::path& folder);

// "model.layers.3.self_attn.q_proj.weight" -> "blk.3.attn_q.weight"; nothing for names that are not
// the text model's.
std::optional<std::string> GgufName(std::string name, bool gemma);

// Rows of a Q or K matrix from halves (row j * D/2 + i of a head) to adjacent pairs (2 i + j), as
// GGUF's llama has them: row r of the result is row result[r] of the matrix.
std::vector<int32_t> AdjacentPairs(int64_t heads, int64_t head_dim);

}  // namespace millrace
