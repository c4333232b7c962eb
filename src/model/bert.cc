// bert: BERT and the sentence encoders and cross-encoders made from it (MiniLM, BGE, GTE, E5).
// nomic-bert: rope and SwiGLU, no biases, Q, K and V in one matrix.
#include <string>

#include "gguf/gguf.h"
#include "model/encoder_config.h"

namespace millrace {
namespace {

constexpr std::string_view kBert = "bert", kNomicBert = "nomic-bert";

std::string_view ArchitectureOf(const GgufFile& file) {
  const auto architecture = file.FindString("general.architecture");
  return architecture.ok() ? architecture->value_or("") : "";
}

// The vectors of token types, whose number no file gives by itself.
Result<int32_t> ReadTokenTypes(const GgufFile& file) {
  const GgufTensor* types = file.FindTensor("token_types.weight");
  if (types == nullptr) return 0;
  if (types->shape.size() > 2 || types->rows() > 1 << 10) {
    return Error{file.name() + ": tensor 'token_types.weight' is not a matrix of width x types"};
  }
  return static_cast<int32_t>(types->rows());
}

}  // namespace

bool IsEncoder(const GgufFile& file) {
  return ArchitectureOf(file) == kBert || ArchitectureOf(file) == kNomicBert;
}

Result<EncoderConfig> ReadEncoderConfig(const GgufFile& file) {
  if (!IsEncoder(file)) {
    return Error{file.name() + ": architecture '" + std::string(ArchitectureOf(file)) +
                     "' is no encoder that Millrace knows; known are bert, nomic-bert",
                 ErrorKind::kUnsupported};
  }
  const std::string architecture(ArchitectureOf(file));
  EncoderConfig config;
  ASSIGN_OR_RETURN(config.common, ReadCommonConfig(file, architecture));
  const std::string epsilon_key = architecture + ".attention.layer_norm_epsilon";
  ASSIGN_OR_RETURN(const auto epsilon, file.FindFloat(epsilon_key));
  if (epsilon && !(*epsilon >= 0 && *epsilon <= 1)) {
    return Error{file.name() + ": the value of '" + epsilon_key + "' is " +
                 std::to_string(*epsilon) + ", outside 0 to 1"};
  }
  config.common.norm_epsilon = static_cast<float>(epsilon.value_or(1e-12));
  ASSIGN_OR_RETURN(const auto causal, file.FindBool(architecture + ".attention.causal"));
  if (causal.value_or(false)) {
    return Error{file.name() + ": '" + architecture +
                     ".attention.causal' is true, but encoders with causal attention are not "
                     "supported",
                 ErrorKind::kUnsupported};
  }
  config.has_rope = architecture == kNomicBert;
  config.is_gated = architecture == kNomicBert;
  config.common.rope.pairing = RopePairing::kHalves;
  ASSIGN_OR_RETURN(config.token_types, ReadTokenTypes(file));
  ASSIGN_OR_RETURN(config.pooling, ReadPooling(file, architecture));
  return config;
}

}  // namespace millrace
