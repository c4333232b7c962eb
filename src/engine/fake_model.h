// FakeModel: a Model for tests whose logits are a deterministic function of the sequence's tokens,
// read back through its KV blocks.
//
// Forward writes every token's id (as value), position and adapter (as key) into the KvStore, then
// hashes
// what the block table leads to, position by position, into the logits. So a wrong block table, a
// block given to two sequences, a stale or a lost one, a skipped or a repeated token: each gives
// other logits than running alone does, and so does a block that another adapter computed. Needs an
// f32 KvStore of FakeModel::Shape().
//
// A model with a habit prefers, by so much, one token that follows from the two before it: then
// texts fall into short cycles, which drafters can foresee, and now and then out of them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "model/model.h"

namespace millrace {

class FakeModel : public Model {
 public:
  static constexpr KvShape Shape() { return {.layers = 2, .kv_heads = 1, .head_dim = 2}; }

  explicit FakeModel(int32_t vocab_size, int32_t context_length = 1 << 20, float habit = 0.0f)
      : habit_(habit) {
    info_.architecture = "fake";
    info_.vocab_size = vocab_size;
    info_.context_length = context_length;
    info_.kv_shape = Shape();
  }

  // Called with each batch, and with the logits that are about to be returned, to look or to spoil.
  std::function<void(const Batch&)> on_batch;
  std::function<void(std::span<float>)> on_logits;

  // Sequences may choose it; they get other logits than those of other adapters or of none.
  void AddAdapter(const std::string& name, const std::string& identity) {
    info_.adapters.push_back({.name = name, .identity = identity});
  }

  const ModelInfo& info() const override { return info_; }

  MatrixView<const float> Forward(const Batch& batch, KvStore& kv) override {
    if (on_batch) on_batch(batch);
    logits_.clear();
    int64_t rows = 0;
    // All writes first, then all reads: a block that two sequences of the batch share shows.
    for (const BatchSequence& sequence : batch.sequences) Store(sequence, kv);
    for (const BatchSequence& sequence : batch.sequences) {
      const auto count = static_cast<int32_t>(sequence.tokens.size());
      rows_ += count;
      for (int32_t row = count - sequence.logit_rows; row < count; ++row) {
        Append(Read(sequence, sequence.first_position + row + 1, kv));
        ++rows;
      }
    }
    if (on_logits) on_logits(logits_);
    return {logits_.data(), rows, info_.vocab_size, info_.vocab_size};
  }

  // As if attention took a millisecond a row, and wrote 100 bytes.
  ModelStatistics statistics() const override {
    return {.attention_seconds = 1e-3 * static_cast<double>(rows_),
            .attention_bytes_written = 100 * rows_};
  }

  // What a row's logits are when all is well: for tests that need no engine to compare with.
  static std::vector<float> LogitsOf(std::span<const TokenId> tokens, int32_t vocab_size,
                                     float habit = 0.0f,
                                     std::optional<AdapterId> adapter = std::nullopt) {
    Text text;
    for (size_t i = 0; i < tokens.size(); ++i) {
      text.Extend(static_cast<float>(tokens[i].value), static_cast<float>(i), MarkOf(adapter));
    }
    std::vector<float> logits;
    for (int32_t id = 0; id < vocab_size; ++id) logits.push_back(text.Logit(id, habit));
    return logits;
  }

 private:
  // What was read so far.
  struct Text {
    uint64_t hash = 0;
    int32_t last = 0, before = 0;

    void Extend(float token, float position, float adapter) {
      hash = Mix64(Mix64(hash ^ static_cast<uint64_t>(token)) ^ static_cast<uint64_t>(position));
      if (adapter != 0) hash = Mix64(hash ^ static_cast<uint64_t>(adapter));
      before = std::exchange(last, static_cast<int32_t>(token));
    }
    // In [0, 8): a spread over which sampling with temperature 1 is neither greedy nor flat.
    float Logit(int32_t id, float habit) const {
      const auto noise =
          static_cast<float>(Mix64(hash ^ Mix64(static_cast<uint64_t>(id))) >> 40) * 0x1p-21f;
      return noise + (id == (3 * last + before + 1) % 7 ? habit : 0.0f);
    }
  };

  static float MarkOf(std::optional<AdapterId> adapter) {
    return adapter ? static_cast<float>(adapter->value + 1) : 0.0f;
  }

  static void Store(const BatchSequence& sequence, KvStore& kv) {
    for (size_t i = 0; i < sequence.tokens.size(); ++i) {
      const int32_t position = sequence.first_position + static_cast<int32_t>(i);
      const BlockId block = sequence.block_table[static_cast<size_t>(position / kBlockTokens)];
      const auto token = static_cast<float>(sequence.tokens[i].value);
      for (int32_t layer = 0; layer < Shape().layers; ++layer) {
        const float k[2] = {static_cast<float>(position), MarkOf(sequence.adapter)};
        const float v[2] = {token, static_cast<float>(layer)};
        kv.Write(layer, block, position % kBlockTokens, k, v);
      }
    }
  }

  // Over the first `length` positions. Layout of an f32 store: K [D][32], V [32][D].
  static Text Read(const BatchSequence& sequence, int32_t length, const KvStore& kv) {
    constexpr int32_t kLastLayer = Shape().layers - 1;
    Text text;
    for (int32_t position = 0; position < length; ++position) {
      const BlockId block = sequence.block_table[static_cast<size_t>(position / kBlockTokens)];
      const int32_t slot = position % kBlockTokens;
      const auto* keys = reinterpret_cast<const float*>(kv.Keys(kLastLayer, block, 0));
      const auto* values = reinterpret_cast<const float*>(kv.Values(kLastLayer, block, 0));
      text.Extend(values[slot * Shape().head_dim], keys[slot], keys[kBlockTokens + slot]);
    }
    return text;
  }

  void Append(const Text& text) {
    for (int32_t id = 0; id < info_.vocab_size; ++id) logits_.push_back(text.Logit(id, habit_));
  }

  int64_t rows_ = 0;  // that went through
  ModelInfo info_;
  float habit_;
  std::vector<float> logits_;
};

}  // namespace millrace
