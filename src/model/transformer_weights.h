// TransformerWeights: the tensors of a decoder, found by name, checked against the configuration
// and packed for the kernels. A missing tensor, a wrong shape or an unsupported type is named in
// one sentence.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "gguf/gguf.h"
#include "model/transformer_config.h"
#include "quantization/weight_matrix.h"

namespace millrace {

struct LayerWeights {
  std::vector<float> attention_norm;          // [E]
  WeightMatrix q, k, v;                       // [H*D, E], [G*D, E], [G*D, E]
  std::vector<float> q_bias, k_bias, v_bias;  // empty, or [H*D], [G*D], [G*D]
  std::vector<float> q_norm, k_norm;          // empty, or [D]
  WeightMatrix attention_output;              // [E, H*D]
  std::vector<float> attention_output_bias;   // empty, or [E]
  std::vector<float> post_attention_norm;     // empty, or [E]
  std::vector<float> ff_norm;                 // [E]
  WeightMatrix gate, up, down;                // [F, E], [F, E], [E, F]
  std::vector<float> post_ff_norm;            // empty, or [E]
};

struct TransformerWeights {
  WeightMatrix token_embedding;  // [V, E]
  std::vector<LayerWeights> layers;
  std::vector<float> output_norm;      // [E]
  std::optional<WeightMatrix> output;  // [V, E]; without: tied to token_embedding
  // What matrices that own no memory of their own view: the model file or a cache of packed
  // weights.
  std::shared_ptr<const void> backing;
  bool from_cache = false;
  // By the file's name; null where there is none.
  WeightMatrix* Find(std::string_view tensor);
  const WeightMatrix* Find(std::string_view tensor) const;
  const WeightMatrix& output_matrix() const { return output ? *output : token_embedding; }
};

// Called with the layers loaded so far and their number.
using LoadProgress = std::function<void(int32_t done, int32_t total)>;

enum class WeightStorage {
  kPacked,  // repacked once into memory of their own; the quick one
  kMapped,  // left in the file's pages and packed panel by panel at every use: slow, little memory
};

// What a process needs besides weights, keys and values: activations, tokenizer, the program.
inline constexpr uint64_t kMemoryBesides = uint64_t{256} << 20;

// kPacked where weights of that size, together with keys and values, find room in what is
// available; else kMapped, whose weights the system can drop and read again.
WeightStorage ChooseStorage(uint64_t weight_bytes, uint64_t kv_bytes, uint64_t available_bytes);

struct WeightOptions {
  WeightStorage storage = WeightStorage::kPacked;
  // The folder of caches of packed weights (model/weight_cache.h), read and written with kPacked;
  // empty: none.
  std::string cache_directory;
  // What `file` was parsed from. With it, pages are released as they are packed, the cache can be
  // used, and kMapped keeps it alive; without it, kMapped needs the file's bytes to outlive the
  // weights.
  std::shared_ptr<const MappedGguf> mapped;
  // Told, in one sentence, what was not as it should be and did no harm: a cache that is stale,
  // damaged or cannot be written.
  std::function<void(const std::string&)> warn;
};

Result<TransformerWeights> LoadTransformerWeights(const GgufFile& file,
                                                  const TransformerConfig& config, ThreadPool& pool,
                                                  const LoadProgress& progress = {},
                                                  const WeightOptions& options = {});

}  // namespace millrace
