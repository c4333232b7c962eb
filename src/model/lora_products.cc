#include "model/lora_products.h"

#include <algorithm>
#include <cstring>

namespace millrace {
namespace {

// Rows that are multiplied together: enough to read an adapter's matrices from memory once for
// many, and few enough that a task's part of the sums stays in the caches.
constexpr int64_t kPieceRows = 64;

}  // namespace

LoraProducts::LoraProducts(const NnKernels& nn, const MatMulKernels& matmul, ThreadPool& pool)
    : nn_(nn), matmul_(matmul), pool_(pool), scratch_(static_cast<size_t>(pool.threads())) {}

void LoraProducts::Clear() {
  used_groups_ = 0;
  entries_.clear();
}

void LoraProducts::Use(int64_t row, const LoraAdapter& adapter) {
  const auto end = groups_.begin() + static_cast<std::ptrdiff_t>(used_groups_);
  auto group = std::find_if(groups_.begin(), end,
                            [&adapter](const Group& g) { return g.adapter == &adapter; });
  if (group == end) {
    if (used_groups_ == groups_.size()) groups_.emplace_back();
    group = groups_.begin() + static_cast<std::ptrdiff_t>(used_groups_++);
    group->adapter = &adapter;
    group->rows.clear();
  }
  group->rows.push_back(row);
}

void LoraProducts::Begin(PhaseInput& input, std::initializer_list<const WeightMatrix*> weights) {
  entries_.clear();
  if (used_groups_ == 0) return;
  size_t reduced = 0, added = 0, bytes = 0;
  int64_t most_rows = 0;
  for (const WeightMatrix* w : weights) {
    for (size_t g = 0; g < used_groups_; ++g) {
      const LoraPair* pair = groups_[g].adapter->Find(*w);
      if (pair == nullptr) continue;
      const auto rows = static_cast<int64_t>(groups_[g].rows.size());
      entries_.push_back({w, pair, &groups_[g], reduced, added});
      reduced += static_cast<size_t>(rows * pair->rank());
      bytes += pair->a.bytes();
      most_rows = std::max(most_rows, rows);
    }
    // Matrices begin on lines of their own.
    added += static_cast<size_t>(kPieceRows * w->panels() * kPanelRows);
  }
  if (entries_.empty()) return;
  reduced_.Reserve(reduced);
  added_.Reserve(added);
  pieces_.clear();
  for (const Entry& entry : entries_) {
    const auto rows = static_cast<int64_t>(entry.group->rows.size());
    for (int64_t first = 0; first < rows; first += kPieceRows)
      pieces_.push_back({&entry, first, std::min(kPieceRows, rows - first)});
  }
  struct Prepared {
    const Activations& input;
    Scratch& scratch;
  };
  const auto pieces = static_cast<int64_t>(pieces_.size());
  pool_.ParallelFor(
      pieces, IsWorthSharing(bytes, most_rows) ? 1 : pieces,
      [&](int thread) {
        return Prepared{input.For(thread), scratch_[static_cast<size_t>(thread)]};
      },
      [&](const Prepared& prepared, int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          Reduce(pieces_[static_cast<size_t>(i)], prepared.input.floats(), prepared.scratch);
      });
}

MatrixView<float> LoraProducts::Reduced(const Entry& entry, int64_t first, int64_t count) {
  const int64_t rank = entry.pair->rank();
  return {reduced_.data() + entry.reduced + static_cast<size_t>(first * rank), count, rank, rank};
}

void LoraProducts::Reduce(const Piece& piece, MatrixView<const float> x, Scratch& scratch) {
  const Entry& entry = *piece.entry;
  const int64_t* rows = entry.group->rows.data() + piece.first;
  MatrixView<const float> taken{x.row(rows[0]), piece.count, x.columns, x.stride};
  if (rows[piece.count - 1] - rows[0] != piece.count - 1) {  // others stand between them
    scratch.rows.Reserve(static_cast<size_t>(piece.count * x.columns));
    for (int64_t i = 0; i < piece.count; ++i)
      std::memcpy(scratch.rows.data() + i * x.columns, x.row(rows[i]),
                  static_cast<size_t>(x.columns) * sizeof(float));
    taken = {scratch.rows.data(), piece.count, x.columns, x.columns};
  }
  const MatrixView<float> reduced = Reduced(entry, piece.first, piece.count);
  scratch.activations.View(taken, {});
  MatMulPanels(matmul_, entry.pair->a, scratch.activations, reduced, 0, entry.pair->a.panels());
  nn_.scale(reduced.data, entry.pair->factor, reduced.rows * reduced.columns);
}

void LoraProducts::Add(const WeightMatrix& w, MatrixView<float> y, int64_t first_panel,
                       int64_t last_panel) {
  const int64_t first = first_panel * kPanelRows;
  const int64_t columns = std::min(last_panel * kPanelRows, y.columns) - first;
  for (const Entry& entry : entries_) {
    if (entry.w != &w) continue;
    const int64_t stride = w.panels() * kPanelRows;
    const auto rows = static_cast<int64_t>(entry.group->rows.size());
    for (int64_t at = 0; at < rows; at += kPieceRows) {
      const int64_t count = std::min(kPieceRows, rows - at);
      const MatrixView<float> added{added_.data() + entry.added, count, y.columns, stride};
      Activations reduced;
      reduced.View(Reduced(entry, at, count), {});
      MatMulPanels(matmul_, entry.pair->b, reduced, added, first_panel, last_panel);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t row = entry.group->rows[static_cast<size_t>(at + i)];
        nn_.add(y.row(row) + first, added.row(i) + first, columns);
      }
    }
  }
}

void LoraProducts::AddEmbedding(const LoraAdapter& adapter, TokenId token,
                                std::span<float> row) const {
  if (!adapter.embedding()) return;
  const LoraPair& pair = *adapter.embedding();
  const auto columns = static_cast<int64_t>(row.size());
  std::vector<float> reduced(static_cast<size_t>(pair.rank())), added(row.size());
  pair.a.DequantizeRow(token.value, reduced);
  nn_.scale(reduced.data(), pair.factor, pair.rank());
  Activations activations;
  activations.View({reduced.data(), 1, pair.rank(), pair.rank()}, {});
  MatMulPanels(matmul_, pair.b, activations, {added.data(), 1, columns, columns}, 0,
               pair.b.panels());
  nn_.add(row.data(), added.data(), columns);
}

}  // namespace millrace
