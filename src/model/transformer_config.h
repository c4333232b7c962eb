// TransformerConfig: everything about a decoder-only transformer that its forward pass needs, read
// and checked once. What the architectures share is read by ReadCommonConfig; each architecture's
// file (llama.cc, qwen.cc, gemma.cc) adds what is its own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "nn_ops/rope.h"

namespace millrace {

class GgufFile;

enum class FeedForwardActivation { kSilu, kGelu };

// Which optional tensors the architecture has. `kOptional` ones are used when the file has them.
enum class Presence { kAbsent, kOptional, kRequired };

struct TransformerConfig {
  std::string architecture;
  int32_t layers = 0;
  int32_t width = 0;       // E: embedding_length
  int32_t ff_width = 0;    // F: feed_forward_length
  int32_t heads = 0;       // H
  int32_t kv_heads = 0;    // G, divides H
  int32_t head_dim = 0;    // D, even
  int32_t vocab_size = 0;  // V
  int32_t context_length = 0;
  float norm_epsilon = 1e-5f;
  float attention_scale = 0.0f;  // of the scores
  float embedding_scale = 1.0f;  // Gemma multiplies embeddings by sqrt(E)
  std::optional<float> attention_softcap;
  std::optional<float> logit_softcap;
  FeedForwardActivation activation = FeedForwardActivation::kSilu;
  Presence qkv_bias = Presence::kAbsent;  // added before rope
  Presence qk_norm = Presence::kAbsent;   // RMS norm of each head of Q and K, before rope
  Presence post_norms =
      Presence::kAbsent;  // RMS norm of a sub-layer's output, before the residual sum
  RopeConfig rope;        // of the global layers
  std::optional<RopeConfig> local_rope;  // of the sliding-window layers, where it differs
  std::optional<int32_t> window;         // positions that a local layer sees
  std::vector<bool> is_local;            // per layer

  int32_t query_width() const { return heads * head_dim; }
  int32_t kv_width() const { return kv_heads * head_dim; }
};

// Hyperparameters under "<architecture>." that all architectures share, with rope scaling. Errors
// name the key.
Result<TransformerConfig> ReadCommonConfig(const GgufFile& file, const std::string& architecture);

// One per architecture file.
Result<TransformerConfig> ReadLlamaConfig(
    const GgufFile& file);  // llama, Mistral, SmolLM, TinyLlama
Result<TransformerConfig> ReadQwen2Config(const GgufFile& file);
Result<TransformerConfig> ReadQwen3Config(const GgufFile& file);
Result<TransformerConfig> ReadGemma3Config(const GgufFile& file);

// Chooses by general.architecture; an unknown one is an error that names it and lists the known
// ones.
Result<TransformerConfig> ReadTransformerConfig(const GgufFile& file);

}  // namespace millrace
