// EncoderConfig: everything about a bidirectional transformer (BERT and its kin) that its forward
// pass needs, read and checked once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "model/pooling.h"
#include "model/transformer_config.h"

namespace millrace {

class GgufFile;

struct EncoderConfig {
  // What encoders share with decoders: sizes, heads, and where `has_rope`, rope. norm_epsilon is
  // that of the layer norms.
  TransformerConfig common;
  bool has_rope = false;           // else a learned vector per position
  bool is_gated = false;           // feed-forward: SwiGLU instead of GELU
  int32_t token_types = 0;         // 0: the model tells no segments apart
  std::optional<Pooling> pooling;  // what the file asks for
};

// Whether general.architecture names an encoder that ReadEncoderConfig knows.
bool IsEncoder(const GgufFile& file);

// bert (learned positions, GELU) and nomic-bert (rope, SwiGLU). Another architecture, causal
// attention and experts are errors that say so.
Result<EncoderConfig> ReadEncoderConfig(const GgufFile& file);

}  // namespace millrace
