// qwen2 (biases on Q, K and V) and qwen3 (each head of Q and K normalised instead). Rope rotates
// halves.
#include "gguf/gguf.h"
#include "model/transformer_config.h"

namespace millrace {

Result<TransformerConfig> ReadQwen2Config(const GgufFile& file) {
  ASSIGN_OR_RETURN(TransformerConfig config, ReadCommonConfig(file, "qwen2"));
  config.rope.pairing = RopePairing::kHalves;
  config.qkv_bias = Presence::kRequired;
  return config;
}

Result<TransformerConfig> ReadQwen3Config(const GgufFile& file) {
  ASSIGN_OR_RETURN(TransformerConfig config, ReadCommonConfig(file, "qwen3"));
  config.rope.pairing = RopePairing::kHalves;
  config.qkv_bias = Presence::kOptional;
  config.qk_norm = Presence::kRequired;
  return config;
}

}  // namespace millrace
