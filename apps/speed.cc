#include "speed.h"

#include <algorithm>

#include "base/rng.h"

namespace millrace {

double SpeedProbe::Prefill(int32_t batch, int32_t prompt, int32_t depth) {
  Place(batch, depth + prompt);
  const TimePoint start = clock_.Now();
  for (int32_t s = 0; s < batch; ++s) {
    for (int32_t done = 0; done < prompt; done += chunk_) {
      const int32_t count = std::min(chunk_, prompt - done);
      Forward({s}, depth + done, count, done + count == prompt ? 1 : 0);
    }
  }
  return static_cast<double>(batch) * prompt / Seconds(clock_.Now() - start);
}

double SpeedProbe::Decode(int32_t batch, int32_t steps, int32_t depth) {
  Place(batch, depth + steps);
  std::vector<int32_t> all(static_cast<size_t>(batch));
  for (int32_t s = 0; s < batch; ++s) all[static_cast<size_t>(s)] = s;
  const TimePoint start = clock_.Now();
  for (int32_t i = 0; i < steps; ++i) Forward(all, depth + i, 1, 1);
  return static_cast<double>(batch) * steps / Seconds(clock_.Now() - start);
}

double SpeedProbe::Step(int32_t count, int32_t depth) {
  Place(1, depth + count);
  const TimePoint start = clock_.Now();
  Forward({0}, depth, count, count);
  return Seconds(clock_.Now() - start);
}

void SpeedProbe::FillDepth(int32_t batch, int32_t depth) {
  Place(batch, depth);
  const KvShape& shape = loaded_.info.kv_shape;
  const auto width = static_cast<size_t>(shape.kv_heads) * static_cast<size_t>(shape.head_dim);
  std::vector<float> k(width), v(width);
  CounterRng rng(1, 0);
  for (size_t i = 0; i < width; ++i) {
    k[i] = static_cast<float>(rng.NextDouble() - 0.5);
    v[i] = static_cast<float>(rng.NextDouble() - 0.5);
  }
  for (int32_t s = 0; s < batch; ++s) {
    for (int32_t p = 0; p < depth; ++p) {
      for (int32_t layer = 0; layer < shape.layers; ++layer) {
        kv_.Write(layer, tables_[static_cast<size_t>(s)][static_cast<size_t>(p / kBlockTokens)],
                  p % kBlockTokens, k.data(), v.data());
      }
    }
  }
}

void SpeedProbe::Place(int32_t batch, int32_t length) {
  tables_.assign(static_cast<size_t>(batch), {});
  const int32_t each = kv_.blocks() / batch;
  for (int32_t s = 0; s < batch; ++s) {
    for (int32_t b = 0; b < BlocksFor(length); ++b)
      tables_[static_cast<size_t>(s)].push_back(BlockId(s * each + b));
  }
}

void SpeedProbe::Forward(const std::vector<int32_t>& sequences, int32_t first, int32_t count,
                         int32_t logit_rows) {
  tokens_.resize(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) {
    tokens_[static_cast<size_t>(i)] = TokenId((first + i * 7 + 3) % loaded_.info.vocab_size);
  }
  Batch batch;
  for (const int32_t s : sequences)
    batch.sequences.push_back({tokens_, first, tables_[static_cast<size_t>(s)], logit_rows});
  loaded_.model->Forward(batch, kv_);
}

}  // namespace millrace
