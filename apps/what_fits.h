// What the memory of a machine is enough for: contexts and sequences of a model, or models at all.
// Pure.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "model/random_model.h"
#include "paged_kv/kv_store.h"

namespace millrace {

// Of free memory a tenth is left for logits, requests and the rest of the machine.
struct KvFit {
  KvType type = KvType::kBf16;
  int64_t bytes_per_token = 0;
  int64_t largest_context = 0;  // of one sequence alone, at most the model's; 0: none fits
  int64_t sequences = 0;        // of `context` tokens each, together
};
// One for each type of KV, with `free_bytes` beside the weights. `context` is at least 1.
std::vector<KvFit> FitKv(const KvShape& shape, int32_t model_context, int32_t context,
                         int64_t free_bytes);

struct ModelFit {
  std::string_view shape;  // "llama-8b"
  std::string_view type;   // "Q4_K_M"
  int64_t weight_bytes = 0;
  std::vector<KvFit> kv;  // with what is left; empty: the weights do not fit
};
// Well-known shapes in usual types, contexts of up to kUsualContext tokens.
inline constexpr int32_t kUsualContext = 131072;
std::vector<ModelFit> FitModels(int32_t context, int64_t free_bytes);

// Of the matrices and the embedding; norms are a thousandth of them.
int64_t WeightBytes(const ModelShape& shape, const TypeMix& mix);

}  // namespace millrace
