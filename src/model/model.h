// Model: the seam between the engine and what computes logits. One of the two virtual interfaces of
// the project (a FakeModel tests the engine; another backend comes in here).
//
// Invariant (bit-exactness): a row of logits depends only on the tokens of its own sequence up to
// that row and on its adapter: not on the rest of the batch, on how the sequence was cut into
// chunks, on which blocks hold it, or on the number of threads.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/matrix.h"
#include "paged_kv/kv_store.h"

namespace millrace {

using AdapterId = Id<struct AdapterTag>;  // index into ModelInfo::adapters

// The part of one sequence that a step computes: tokens at positions first_position, first_position
// + 1, ... Keys and values of the positions before are in the KvStore; those of these tokens are
// written by Forward.
struct BatchSequence {
  std::span<const TokenId> tokens;  // at least 1; every id is within the vocabulary
  int32_t first_position = 0;
  std::span<const BlockId> block_table;  // covers first_position + tokens.size() positions
  int32_t logit_rows = 0;  // logits are wanted for the last `logit_rows` of the tokens
  std::optional<AdapterId> adapter =
      {};  // the same in all parts of a sequence; none: the base model
};

struct Batch {
  std::vector<BatchSequence> sequences;
};

// A low-rank change of the model that sequences may choose.
struct AdapterInfo {
  std::string name;
  // Keys and values of sequences with different identities differ, and of equal ones do not.
  std::string identity;
  int64_t bytes = 0;  // as held in memory
  int64_t rank = 0;   // the largest
};

struct ModelInfo {
  std::string architecture;  // "llama", "qwen3", ...
  std::string name;          // general.name, or the file's name
  int32_t vocab_size = 0;
  int32_t context_length = 0;  // what the file says the model was made for
  KvShape kv_shape;
  int32_t heads = 0;  // of queries; 0: not said
  int64_t parameters = 0;
  int64_t weight_bytes = 0;  // as held in memory
  // Of which every step reads these (not the rows of an embedding that is no output matrix), and
  // the multiply-adds that one position without logits costs in the layers' matrices (attention is
  // not counted).
  int64_t step_weight_bytes = 0;
  int64_t layer_macs = 0;
  std::vector<AdapterInfo> adapters;
};

// What all calls of Forward so far took. Bytes of intermediate results: attention.h.
struct ModelStatistics {
  double attention_seconds = 0;
  int64_t attention_bytes_written = 0;
};

class Model {
 public:
  virtual ~Model() = default;
  // Logits [sum of logit_rows, vocab_size], in the order of the batch. The view is valid until the
  // next call.
  virtual MatrixView<const float> Forward(const Batch& batch, KvStore& kv) = 0;
  virtual const ModelInfo& info() const = 0;
  virtual ModelStatistics statistics() const { return {}; }
};

}  // namespace millrace
