#include "what_fits.h"

#include <algorithm>
#include <utility>

namespace millrace {
namespace {

int64_t Usable(int64_t free_bytes) { return free_bytes / 10 * 9; }

}  // namespace

std::vector<KvFit> FitKv(const KvShape& shape, int32_t model_context, int32_t context,
                         int64_t free_bytes) {
  std::vector<KvFit> fits;
  for (const KvType type : kKvTypes) {
    const int64_t block = KvStore::BlockBytes(shape, type);
    const int64_t blocks = Usable(free_bytes) / block;
    fits.push_back({.type = type,
                    .bytes_per_token = block / kBlockTokens,
                    .largest_context = std::min<int64_t>(model_context, blocks * kBlockTokens),
                    .sequences = blocks / BlocksFor(context)});
  }
  return fits;
}

int64_t WeightBytes(const ModelShape& shape, const TypeMix& mix) {
  const auto matrix = [&](std::string_view name, int32_t layer, int64_t rows, int64_t columns) {
    return rows * RowBytes(mix.OfTensor(name, layer, shape.layers, shape.tied), columns);
  };
  const int64_t queries = int64_t{shape.heads} * shape.head_dim;
  const int64_t keys = int64_t{shape.kv_heads} * shape.head_dim;
  int64_t bytes = matrix("token_embd.weight", 0, shape.vocab_size, shape.width);
  if (!shape.tied) bytes += matrix("output.weight", 0, shape.vocab_size, shape.width);
  for (int32_t layer = 0; layer < shape.layers; ++layer) {
    bytes += matrix("attn_q.weight", layer, queries, shape.width);
    bytes += matrix("attn_k.weight", layer, keys, shape.width);
    bytes += matrix("attn_v.weight", layer, keys, shape.width);
    bytes += matrix("attn_output.weight", layer, shape.width, queries);
    bytes += matrix("ffn_gate.weight", layer, shape.ff_width, shape.width);
    bytes += matrix("ffn_up.weight", layer, shape.ff_width, shape.width);
    bytes += matrix("ffn_down.weight", layer, shape.width, shape.ff_width);
  }
  return bytes;
}

std::vector<ModelFit> FitModels(int32_t context, int64_t free_bytes) {
  std::vector<ModelFit> fits;
  for (const ModelShape& shape : KnownShapes()) {
    if (shape.name == "tiny") continue;
    for (const std::string_view type : {"Q4_K_M", "Q8_0", "F16"}) {
      const auto mix = ParseTypeMix(type);
      if (!mix.ok()) continue;
      ModelFit fit{shape.name, type, WeightBytes(shape, *mix), {}};
      const KvShape kv{shape.layers, shape.kv_heads, shape.head_dim};
      if (fit.weight_bytes < Usable(free_bytes)) {
        fit.kv = FitKv(kv, kUsualContext, context, free_bytes - fit.weight_bytes);
      }
      fits.push_back(std::move(fit));
    }
  }
  return fits;
}

}  // namespace millrace
