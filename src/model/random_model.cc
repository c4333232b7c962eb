#include "model/random_model.h"

#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/float16.h"
#include "base/rng.h"

namespace millrace {
namespace {

constexpr ModelShape kShapes[] = {
    {"tiny", "llama", 2, 256, 512, 4, 2, 64, 512, true, 1e4f},
    {"llama-1b", "llama", 16, 2048, 8192, 32, 8, 64, 128256, true, 5e5f},
    {"llama-3b", "llama", 28, 3072, 8192, 24, 8, 128, 128256, true, 5e5f},
    {"llama-8b", "llama", 32, 4096, 14336, 32, 8, 128, 128256, false, 5e5f},
    {"qwen3-4b", "qwen3", 36, 2560, 9728, 32, 8, 128, 151936, true, 1e6f},
};

constexpr DType kTypes[] = {DType::kF32,    DType::kF16,  DType::kBF16, DType::kQ8_0,
                            DType::kQ4_0,   DType::kQ4_K, DType::kQ5_K, DType::kQ6_K,
                            DType::kQ3_K,   DType::kQ2_K, DType::kQ4_1, DType::kIQ4_NL,
                            DType::kIQ4_XS, DType::kMXFP4};

// Where the half-precision scales of a block stand, and values that give weights of a deviation
// near 0.02 when all other bits are random.
struct BlockScales {
  size_t d = 0;
  float d_value = 0;
  size_t second = 0;  // dmin or m; none where second_value is 0
  float second_value = 0;
};

BlockScales ScalesOf(DType type) {
  switch (type) {
    case DType::kQ8_0:
      return {0, 2.7e-4f};
    case DType::kQ4_0:
      return {0, 4.3e-3f};
    case DType::kQ4_1:
      return {0, 4.3e-3f, 2, -3.2e-2f};
    case DType::kQ4_K:
      return {0, 1.2e-4f, 2, 9e-4f};
    case DType::kQ5_K:
      return {0, 6e-5f, 2, 9e-4f};
    case DType::kQ6_K:
      return {208, 1.5e-5f};
    case DType::kQ3_K:
      return {108, 4e-4f};
    case DType::kQ2_K:
      return {80, 2e-3f, 82, 3e-3f};
    case DType::kIQ4_NL:
      return {0, 3e-4f};
    case DType::kIQ4_XS:
      return {0, 1.6e-5f};
    default:
      CHECK(false);
  }
}

void FillRandom(std::span<std::byte> out, CounterRng& rng) {
  size_t at = 0;
  for (; at + 8 <= out.size(); at += 8) {
    const uint64_t bits = rng.NextU64();
    std::memcpy(out.data() + at, &bits, 8);
  }
  for (; at < out.size(); ++at) out[at] = static_cast<std::byte>(rng.NextU64());
}

// A uniform value of deviation 0.02 from 16 bits of `bits`.
float UniformWeight(uint64_t bits) {
  return (static_cast<float>(bits & 0xffff) / 65536.0f - 0.5f) * 0.0693f;
}

template <class Element, class Convert>
void FillFloats(std::span<std::byte> out, CounterRng& rng, Convert convert) {
  for (size_t at = 0; at + sizeof(Element) <= out.size(); at += sizeof(Element)) {
    const Element value = convert(UniformWeight(rng.NextU64()));
    std::memcpy(out.data() + at, &value, sizeof(value));
  }
}

void FillBlocks(DType type, std::span<std::byte> out, CounterRng& rng) {
  FillRandom(out, rng);
  const auto block_bytes = static_cast<size_t>(InfoOf(type).block_bytes);
  if (type == DType::kMXFP4) {  // 2^-8: values up to 12 halves of it
    for (size_t at = 0; at < out.size(); at += block_bytes) out[at] = std::byte{119};
    return;
  }
  const BlockScales scales = ScalesOf(type);
  const uint16_t d = F32ToF16(scales.d_value), second = F32ToF16(scales.second_value);
  for (size_t at = 0; at < out.size(); at += block_bytes) {
    std::memcpy(out.data() + at + scales.d, &d, 2);
    if (scales.second_value != 0) std::memcpy(out.data() + at + scales.second, &second, 2);
  }
}

void FillMatrix(DType type, std::span<std::byte> out, CounterRng rng) {
  switch (type) {
    case DType::kF32:
      return FillFloats<float>(out, rng, [](float v) { return v; });
    case DType::kF16:
      return FillFloats<uint16_t>(out, rng, [](float v) { return F32ToF16(v); });
    case DType::kBF16:
      return FillFloats<uint16_t>(out, rng, [](float v) { return F32ToBf16(v); });
    default:
      return FillBlocks(type, out, rng);
  }
}

class Builder {
 public:
  Builder(const ModelShape& shape, const TypeMix& mix, uint64_t seed, GgufWriter& writer)
      : shape_(shape), mix_(mix), seed_(seed), writer_(writer) {}

  void Build() {
    AddHyperparameters();
    AddTokenizer();
    AddMatrix("token_embd.weight", 0, shape_.vocab_size, shape_.width);
    AddVector("output_norm.weight", shape_.width);
    if (!shape_.tied) AddMatrix("output.weight", 0, shape_.vocab_size, shape_.width);
    for (int32_t i = 0; i < shape_.layers; ++i) AddLayer(i);
  }

 private:
  void AddHyperparameters() {
    const std::string p = std::string(shape_.architecture) + ".";
    const auto u32 = [](int32_t v) { return static_cast<uint32_t>(v); };
    writer_.AddString("general.architecture", shape_.architecture);
    writer_.AddString("general.name", "random-" + std::string(shape_.name));
    writer_.AddU32(p + "context_length", 131072);
    writer_.AddU32(p + "embedding_length", u32(shape_.width));
    writer_.AddU32(p + "block_count", u32(shape_.layers));
    writer_.AddU32(p + "feed_forward_length", u32(shape_.ff_width));
    writer_.AddU32(p + "attention.head_count", u32(shape_.heads));
    writer_.AddU32(p + "attention.head_count_kv", u32(shape_.kv_heads));
    writer_.AddU32(p + "attention.key_length", u32(shape_.head_dim));
    writer_.AddU32(p + "attention.value_length", u32(shape_.head_dim));
    writer_.AddU32(p + "rope.dimension_count", u32(shape_.head_dim));
    writer_.AddF32(p + "rope.freq_base", shape_.rope_base);
    writer_.AddF32(p + "attention.layer_norm_rms_epsilon", 1e-5f);
    writer_.AddU32(p + "vocab_size", u32(shape_.vocab_size));
  }

  // The bytes as GPT-2 writes them, fillers, and one end-of-text token, the last.
  void AddTokenizer() {
    std::vector<std::string> tokens;
    uint32_t next = 256;
    for (uint32_t b = 0; b < 256; ++b) {
      const bool shown = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      const uint32_t code = shown ? b : next++;
      std::string symbol;
      if (code >= 0x80) symbol += static_cast<char>(0xC0 | (code >> 6));
      symbol += static_cast<char>(code < 0x80 ? code : 0x80 | (code & 0x3F));
      tokens.push_back(symbol);
    }
    const auto vocab = static_cast<size_t>(shape_.vocab_size);
    while (tokens.size() + 1 < vocab) tokens.push_back("filler" + std::to_string(tokens.size()));
    tokens.emplace_back("<|endoftext|>");
    const std::vector<std::string_view> views(tokens.begin(), tokens.end());
    std::vector<int32_t> types(vocab, 1);
    types.back() = 3;
    writer_.AddString("tokenizer.ggml.model", "gpt2");
    writer_.AddString("tokenizer.ggml.pre", "gpt-2");
    writer_.AddStrings("tokenizer.ggml.tokens", views);
    writer_.AddI32s("tokenizer.ggml.token_type", types);
    writer_.AddStrings("tokenizer.ggml.merges", {});
    writer_.AddU32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(vocab - 1));
    writer_.AddU32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(vocab - 1));
    writer_.AddBool("tokenizer.ggml.add_bos_token", false);
  }

  void AddLayer(int32_t i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    const int32_t q = shape_.heads * shape_.head_dim, kv = shape_.kv_heads * shape_.head_dim;
    AddVector(blk + "attn_norm.weight", shape_.width);
    AddMatrix(blk + "attn_q.weight", i, q, shape_.width);
    AddMatrix(blk + "attn_k.weight", i, kv, shape_.width);
    AddMatrix(blk + "attn_v.weight", i, kv, shape_.width);
    AddMatrix(blk + "attn_output.weight", i, shape_.width, q);
    AddVector(blk + "ffn_norm.weight", shape_.width);
    AddMatrix(blk + "ffn_gate.weight", i, shape_.ff_width, shape_.width);
    AddMatrix(blk + "ffn_up.weight", i, shape_.ff_width, shape_.width);
    AddMatrix(blk + "ffn_down.weight", i, shape_.width, shape_.ff_width);
    if (shape_.architecture == "qwen3") {
      AddVector(blk + "attn_q_norm.weight", shape_.head_dim);
      AddVector(blk + "attn_k_norm.weight", shape_.head_dim);
    }
  }

  void AddVector(const std::string& name, int32_t count) {
    const int64_t shape[] = {count};
    writer_.AddTensor(name, DType::kF32, shape, [](std::span<std::byte> out) {
      constexpr float kOne = 1.0f;
      for (size_t at = 0; at < out.size(); at += 4) std::memcpy(out.data() + at, &kOne, 4);
      return Status();
    });
  }

  void AddMatrix(const std::string& name, int32_t layer, int32_t rows, int32_t columns) {
    const DType type = mix_.OfTensor(name, layer, shape_.layers, shape_.tied);
    const CounterRng rng(seed_, tensors_++);
    const int64_t shape[] = {columns, rows};
    writer_.AddTensor(name, type, shape, [type, rng](std::span<std::byte> out) {
      FillMatrix(type, out, rng);
      return Status();
    });
  }

  const ModelShape& shape_;
  const TypeMix mix_;
  uint64_t seed_;
  GgufWriter& writer_;
  uint64_t tensors_ = 0;
};

// The layers that the usual mixes give more bits: the first and the last eighth, and every third
// between them.
bool HasMoreBits(int32_t layer, int32_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

}  // namespace

std::span<const ModelShape> KnownShapes() { return kShapes; }

Result<const ModelShape*> FindShape(std::string_view name) {
  std::string known;
  for (const ModelShape& shape : kShapes) {
    if (shape.name == name) return &shape;
    known += (known.empty() ? "" : ", ") + std::string(shape.name);
  }
  return Error{"unknown shape '" + std::string(name) + "': choose one of " + known};
}

DType TypeMix::OfTensor(std::string_view name, int32_t layer, int32_t layers, bool tied) const {
  if (name == "output.weight" || (tied && name == "token_embd.weight")) return output;
  const bool wants_more = name.ends_with("attn_v.weight") || name.ends_with("ffn_down.weight");
  if (more_bits && wants_more && HasMoreBits(layer, layers)) return DType::kQ6_K;
  return base;
}

Result<TypeMix> ParseTypeMix(std::string_view name) {
  if (name == "Q4_K_M") return TypeMix{DType::kQ4_K, true, DType::kQ6_K};
  if (name == "Q5_K_M") return TypeMix{DType::kQ5_K, true, DType::kQ6_K};
  std::string known = "Q4_K_M, Q5_K_M";
  for (const DType type : kTypes) {
    if (NameOf(type) != name) {
      known += ", " + std::string(NameOf(type));
      continue;
    }
    const bool wide =
        type == DType::kF32 || type == DType::kF16 || type == DType::kBF16 || type == DType::kQ8_0;
    return TypeMix{type, false, wide ? type : DType::kQ6_K};
  }
  return Error{"unknown type '" + std::string(name) + "': choose one of " + known};
}

void AddRandomModel(const ModelShape& shape, const TypeMix& mix, uint64_t seed,
                    GgufWriter& writer) {
  Builder(shape, mix, seed, writer).Build();
}

}  // namespace millrace
