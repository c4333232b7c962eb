// Tokens per second of a model itself, without scheduler and sampling.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "model_loading.h"
#include "paged_kv/kv_store.h"

namespace millrace {

// Sequences of equal length over a KV store that holds them all at their final length.
class SpeedProbe {
 public:
  SpeedProbe(LoadedModel& loaded, KvStore kv, int32_t chunk)
      : loaded_(loaded), kv_(std::move(kv)), chunk_(chunk) {}

  // Tokens per second of computing `prompt` tokens of each sequence after `depth` that are there
  // already.
  double Prefill(int32_t batch, int32_t prompt, int32_t depth);
  // Tokens per second, all sequences together, of `steps` steps of one token each after `depth`
  // tokens.
  double Decode(int32_t batch, int32_t steps, int32_t depth);
  // Seconds of one step that computes `count` tokens of one sequence after `depth`, with the logits
  // of all: what verifying a draft costs.
  double Step(int32_t count, int32_t depth);
  // Random keys and values at positions [0, depth) of each sequence: what a prompt of that length
  // leaves behind costs the same to read, whatever it says.
  void FillDepth(int32_t batch, int32_t depth);

 private:
  // Gives each sequence its own blocks; a sequence's blocks are the same for every call with the
  // same batch.
  void Place(int32_t batch, int32_t length);
  void Forward(const std::vector<int32_t>& sequences, int32_t first, int32_t count,
               int32_t logit_rows);

  LoadedModel& loaded_;
  KvStore kv_;
  int32_t chunk_;
  Clock clock_;
  std::vector<std::vector<BlockId>> tables_;
  std::vector<TokenId> tokens_;
};

}  // namespace millrace
