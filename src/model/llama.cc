// llama: Llama 1 to 3, Mistral, SmolLM, TinyLlama files. Adjacent-pair rope (the converter permutes
// Q and K so), optional biases, llama 3 frequency factors, tied embeddings when `output.weight` is
// missing.
#include "gguf/gguf.h"
#include "model/transformer_config.h"

namespace millrace {

Result<TransformerConfig> ReadLlamaConfig(const GgufFile& file) {
  ASSIGN_OR_RETURN(TransformerConfig config, ReadCommonConfig(file, "llama"));
  config.rope.pairing = RopePairing::kAdjacent;
  config.qkv_bias = Presence::kOptional;
  // Mistral 7B v0.1: every layer sees a window.
  ASSIGN_OR_RETURN(const auto window, file.FindInt("llama.attention.sliding_window", 0, 1 << 30));
  if (window.value_or(0) > 0) {
    config.window = static_cast<int32_t>(*window);
    config.is_local.assign(config.is_local.size(), true);
  }
  return config;
}

}  // namespace millrace
