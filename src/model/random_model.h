// Models of well-known shapes with random weights, so that speed can be measured without a
// download.
//
// Invariant: the same shape, type and seed give the same file, byte for byte. The weights have a
// plausible spread (logits stay finite); what they say means nothing.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/dtype.h"
#include "base/result.h"
#include "gguf/writer.h"

namespace millrace {

struct ModelShape {
  std::string_view name;          // "llama-1b"
  std::string_view architecture;  // llama, qwen3
  int32_t layers;
  int32_t width;
  int32_t ff_width;
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t vocab_size;
  bool tied;  // the embedding is also the output matrix
  float rope_base;
};

// llama-1b, llama-3b, llama-8b, qwen3-4b (the published shapes), and tiny, for tests.
std::span<const ModelShape> KnownShapes();
// An unknown name is an error that lists the known ones.
Result<const ModelShape*> FindShape(std::string_view name);

// Which type each tensor has: one type for all matrices ("Q8_0", "F16"), or a usual mix ("Q4_K_M",
// "Q5_K_M": attention V and the down projection of half of the layers in Q6_K). Below eight bits
// the matrix that makes the logits is Q6_K, as usual.
struct TypeMix {
  DType base = DType::kF16;
  bool more_bits = false;  // the "_M" mixes
  DType output = DType::kF16;

  DType OfTensor(std::string_view name, int32_t layer, int32_t layers, bool tied) const;
};
// An unknown name is an error that lists the known ones.
Result<TypeMix> ParseTypeMix(std::string_view name);

// Adds metadata, a byte-level tokenizer and all tensors; the data are made while the writer runs.
// `shape` must outlive it.
void AddRandomModel(const ModelShape& shape, const TypeMix& mix, uint64_t seed, GgufWriter& writer);

}  // namespace millrace
