// The bit-exactness harness at the model: batches of every number of rows M from 1 to 70, for every
// weight type and instruction set, on 1 to 4 threads, against each row computed alone; ==
// throughout. (bit_exactness_test goes through the engine, its chunks, caches and preemptions.)
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>

#include "base/sanitizer_for_test.h"
#include "gguf/gguf.h"
#include "model/transformer.h"
#include "tests/tiny_model.h"

namespace millrace {
namespace {

constexpr int32_t kMostRows = 70;
constexpr int kMostThreads = 4;

struct Case {
  DType type;
  Isa isa;
};

// A model on a number of threads, with the keys and values of one sequence of kMostRows tokens.
class Machine {
 public:
  Machine(const GgufFile& file, Isa isa, int threads) : pool_(threads) {
    TransformerOptions options;
    options.isa = isa;
    options.max_positions = kMostRows;
    auto model = Transformer::Load(file, options, pool_);
    CHECK(model.ok());
    model_ = std::move(*model);
    auto kv = KvStore::Create(model_->info().kv_shape, KvType::kBf16, BlocksFor(kMostRows));
    CHECK(kv.ok());
    kv_ = std::make_unique<KvStore>(std::move(*kv));
    for (int32_t b = 0; b < kv_->blocks(); ++b) table_.push_back(BlockId(kv_->blocks() - 1 - b));
    std::mt19937 random(3);
    for (int32_t i = 0; i < kMostRows; ++i) {
      tokens_.push_back(TokenId(static_cast<int32_t>(random() % 256)));
    }
  }

  // The rows [first, first + count) of the sequence, with logits of the last `wanted`.
  BatchSequence Piece(int32_t first, int32_t count, int32_t wanted) const {
    return {std::span(tokens_).subspan(static_cast<size_t>(first), static_cast<size_t>(count)),
            first, table_, wanted};
  }
  std::vector<std::vector<float>> Forward(const Batch& batch) {
    const MatrixView<const float> logits = model_->Forward(batch, *kv_);
    std::vector<std::vector<float>> rows;
    for (int64_t i = 0; i < logits.rows; ++i) {
      rows.emplace_back(logits.row(i), logits.row(i) + logits.columns);
    }
    return rows;
  }

 private:
  ThreadPool pool_;
  std::unique_ptr<Transformer> model_;
  std::unique_ptr<KvStore> kv_;
  std::vector<BlockId> table_;
  std::vector<TokenId> tokens_;
};

class BatchExactness : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    TinyModelSpec spec;
    spec.type = GetParam().type;
    spec.layers = 2;
    spec.width = 256;
    spec.ff_width = 256;
    spec.heads = 4;
    spec.kv_heads = 2;
    spec.head_dim = 64;
    bytes_ = MakeTinyModel(spec);
    auto file = ParseGguf(bytes_, "tiny.gguf");
    ASSERT_TRUE(file.ok());
    for (int threads = 1; threads <= kMostThreads; ++threads) {
      machines_.push_back(std::make_unique<Machine>(*file, GetParam().isa, threads));
    }
    // Every row alone, in order; each machine needs the keys and values.
    for (const auto& machine : machines_) {
      for (int32_t i = 0; i < kMostRows; ++i) {
        const auto rows = machine->Forward({{machine->Piece(i, 1, 1)}});
        ASSERT_EQ(rows.size(), 1u);
        if (machine == machines_.front()) {
          alone_.push_back(rows[0]);
        } else {
          ASSERT_TRUE(Same(rows[0], i)) << "row " << i << " alone";
        }
      }
    }
  }

  bool Same(const std::vector<float>& row, int32_t position) const {
    const std::vector<float>& alone = alone_[static_cast<size_t>(position)];
    return row.size() == alone.size() &&
           std::memcmp(row.data(), alone.data(), row.size() * sizeof(float)) == 0;
  }

  // The logits that `batch` asks for are those of the rows alone.
  void Check(Machine& machine, const Batch& batch) const {
    const auto rows = machine.Forward(batch);
    size_t row = 0;
    for (const BatchSequence& s : batch.sequences) {
      const auto end = s.first_position + static_cast<int32_t>(s.tokens.size());
      for (int32_t p = end - s.logit_rows; p < end; ++p, ++row) {
        ASSERT_LT(row, rows.size());
        ASSERT_TRUE(Same(rows[row], p)) << "position " << p;
      }
    }
    ASSERT_EQ(row, rows.size());
  }

  // The thread counts that M rows are computed on: all, where that is quick.
  std::vector<int> ThreadsFor(int32_t m) const {
    if (GetParam().isa == Isa::kScalar || kUnderSanitizer) return {1 + m % kMostThreads};
    return {1, 2, 3, 4};
  }
  Machine& On(int threads) const { return *machines_[static_cast<size_t>(threads - 1)]; }

  std::vector<std::byte> bytes_;
  std::vector<std::unique_ptr<Machine>> machines_;  // of 1, 2, ... threads
  std::vector<std::vector<float>> alone_;           // logits of each position
};

TEST_P(BatchExactness, EveryNumberOfRows) {
  for (int32_t m = 1; m <= kMostRows; ++m) {
    for (const int threads : ThreadsFor(m)) {
      SCOPED_TRACE(std::to_string(m) + " rows, " + std::to_string(threads) + " threads");
      Machine& machine = On(threads);
      // One sequence's prefill.
      ASSERT_NO_FATAL_FAILURE(Check(machine, {{machine.Piece(0, m, m)}}));
      // M sequences that decode one token each.
      if (GetParam().isa == Isa::kScalar && m % 3 != 0) continue;
      Batch together;
      for (int32_t i = 0; i < m; ++i) together.sequences.push_back(machine.Piece(i, 1, 1));
      ASSERT_NO_FATAL_FAILURE(Check(machine, together));
    }
  }
}

// Rows whose logits are not asked for leave the last layer early.
TEST_P(BatchExactness, LogitsOfSomeRows) {
  const int32_t step = GetParam().isa == Isa::kScalar ? 7 : 1;  // the slow one
  for (int32_t m = 3; m <= kMostRows; m += step) {
    const int threads = 1 + m % kMostThreads;
    SCOPED_TRACE(std::to_string(m) + " rows, " + std::to_string(threads) + " threads");
    Machine& machine = On(threads);
    const int32_t first = m / 3, second = first + std::max(1, m / 4);
    ASSERT_NO_FATAL_FAILURE(
        Check(machine, {{machine.Piece(0, first, m % 2), machine.Piece(first, second - first, 0),
                         machine.Piece(second, m - second, 1 + m % (m - second))}}));
    ASSERT_NO_FATAL_FAILURE(Check(machine, {{machine.Piece(0, m, 0)}}));
    ASSERT_NO_FATAL_FAILURE(Check(machine, {{machine.Piece(0, m, 1)}}));
  }
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const DType type : WeightMatrix::SupportedTypes()) {
    for (const Isa isa : SupportedIsas()) {
      if (kUnderSanitizer && (isa == Isa::kScalar || type == DType::kF32)) continue;
      cases.push_back({type, isa});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Types, BatchExactness, testing::ValuesIn(Cases()), [](const auto& param) {
  return std::string(NameOf(param.param.type)) + "_" + std::string(NameOf(param.param.isa));
});

}  // namespace
}  // namespace millrace
