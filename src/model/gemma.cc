// gemma3: embeddings scaled by sqrt(width), GeGLU, norms before and after each sub-layer,
// normalised Q and K, and five sliding-window layers (rope base 10000, no scaling) to each global
// one.
#include <cmath>

#include "gguf/gguf.h"
#include "model/transformer_config.h"

namespace millrace {
namespace {

constexpr int32_t kDefaultPattern = 6;  // the last of every six layers is global
constexpr int32_t kLayersOf27B =
    62;  // the 27B model alone scales scores by the width of a head of E / H

}  // namespace

Result<TransformerConfig> ReadGemma3Config(const GgufFile& file) {
  ASSIGN_OR_RETURN(TransformerConfig config, ReadCommonConfig(file, "gemma3"));
  config.rope.pairing = RopePairing::kHalves;
  config.activation = FeedForwardActivation::kGelu;
  config.qk_norm = Presence::kRequired;
  config.post_norms = Presence::kRequired;
  config.embedding_scale = std::sqrt(static_cast<float>(config.width));
  if (config.layers == kLayersOf27B) {
    config.attention_scale =
        1.0f / std::sqrt(static_cast<float>(config.width) / static_cast<float>(config.heads));
  }
  ASSIGN_OR_RETURN(const auto softcap, file.FindFloat("gemma3.final_logit_softcapping"));
  if (softcap.value_or(0) > 0) config.logit_softcap = static_cast<float>(*softcap);

  ASSIGN_OR_RETURN(const auto window, file.FindInt("gemma3.attention.sliding_window", 0, 1 << 30));
  if (window.value_or(0) <= 0) return config;
  config.window = static_cast<int32_t>(*window);
  ASSIGN_OR_RETURN(const auto pattern,
                   file.FindInt("gemma3.attention.sliding_window_pattern", 1, 1024));
  const auto period = static_cast<int32_t>(pattern.value_or(kDefaultPattern));
  for (int32_t i = 0; i < config.layers; ++i)
    config.is_local[static_cast<size_t>(i)] = i % period != period - 1;
  RopeConfig local = config.rope;
  ASSIGN_OR_RETURN(const auto base, file.FindFloat("gemma3.rope.freq_base_swa"));
  local.base = base.value_or(10000.0);
  local.linear_factor = 1.0f;
  local.yarn.reset();
  local.frequency_factors.clear();
  config.local_rope = local;
  return config;
}

}  // namespace millrace
