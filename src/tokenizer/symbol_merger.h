// SymbolMerger: merges neighbouring symbols, best pair first (byte-pair encoding: Sennrich et al.
// 2016, section 3.2).
//
// The pair with the lowest priority is merged, of several the leftmost, until no pair can be. Short
// words scan for it; long ones keep a heap, so that a megabyte of one letter takes n log n steps.
// Both give the same symbols.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace millrace::tokenizer_internal {

struct Symbol {
  size_t begin;  // bytes [begin, end) of the word
  size_t end;
  int32_t id;
};

// What merging two neighbours gives. `Priority` is a number; max() stands for "cannot be merged".
template <class Priority>
struct Merge {
  Priority priority = std::numeric_limits<Priority>::max();
  int32_t id = 0;
  bool exists() const { return priority != std::numeric_limits<Priority>::max(); }
};

// Scratch memory for one thread's calls.
template <class Priority>
class SymbolMerger {
 public:
  // Fill this, then call Run; holds the result afterwards.
  std::vector<Symbol>& symbols() { return symbols_; }

  // find(const Symbol& left, const Symbol& right) -> Merge<Priority>.
  template <class Find>
  void Run(const Find& find) {
    constexpr size_t kShort = 32;
    if (symbols_.size() <= kShort) {
      RunByScan(find);
    } else {
      RunByHeap(find);
    }
  }

  template <class Find>
  void RunByScan(const Find& find) {
    const size_t count = symbols_.size();
    if (count < 2) return;
    merges_.clear();
    for (size_t i = 0; i + 1 < count; ++i) merges_.push_back(find(symbols_[i], symbols_[i + 1]));
    while (!merges_.empty()) {
      const auto best =
          std::min_element(merges_.begin(), merges_.end(),
                           [](const auto& a, const auto& b) { return a.priority < b.priority; });
      if (!best->exists()) break;
      const auto i = static_cast<size_t>(best - merges_.begin());
      symbols_[i].end = symbols_[i + 1].end;
      symbols_[i].id = best->id;
      symbols_.erase(symbols_.begin() + static_cast<ptrdiff_t>(i) + 1);
      merges_.erase(best);
      if (i > 0) merges_[i - 1] = find(symbols_[i - 1], symbols_[i]);
      if (i < merges_.size()) merges_[i] = find(symbols_[i], symbols_[i + 1]);
    }
  }

  template <class Find>
  void RunByHeap(const Find& find) {
    const size_t count = symbols_.size();
    links_.clear();
    heap_.clear();
    for (size_t i = 0; i < count; ++i) links_.push_back({i == 0 ? kNone : i - 1, i + 1});
    if (count > 0) links_.back().next = kNone;
    for (size_t i = 0; i + 1 < count; ++i) Push(find, i, i + 1);
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), Worse);
      const Entry entry = heap_.back();
      heap_.pop_back();
      // Symbols only grow, so a pair is as it was pushed exactly if it still ends at the same byte.
      const size_t right = links_[entry.left].next;
      if (Absorbed(entry.left) || right != entry.right || symbols_[right].end != entry.end)
        continue;
      symbols_[entry.left].end = entry.end;
      symbols_[entry.left].id = entry.merge.id;
      symbols_[right].end = symbols_[right].begin;
      const size_t next = links_[right].next;
      links_[entry.left].next = next;
      if (next != kNone) links_[next].previous = entry.left;
      if (const size_t before = links_[entry.left].previous; before != kNone) {
        Push(find, before, entry.left);
      }
      if (next != kNone) Push(find, entry.left, next);
    }
    std::erase_if(symbols_, [](const Symbol& s) { return s.begin == s.end; });
  }

 private:
  static constexpr size_t kNone = std::numeric_limits<size_t>::max();
  struct Link {
    size_t previous;
    size_t next;
  };
  struct Entry {
    Merge<Priority> merge;
    size_t left;
    size_t right;
    size_t end;
  };
  static bool Worse(const Entry& a, const Entry& b) {
    return a.merge.priority != b.merge.priority ? a.merge.priority > b.merge.priority
                                                : a.left > b.left;
  }
  bool Absorbed(size_t i) const { return symbols_[i].begin == symbols_[i].end; }

  template <class Find>
  void Push(const Find& find, size_t left, size_t right) {
    const Merge<Priority> merge = find(symbols_[left], symbols_[right]);
    if (!merge.exists()) return;
    heap_.push_back({merge, left, right, symbols_[right].end});
    std::push_heap(heap_.begin(), heap_.end(), Worse);
  }

  std::vector<Symbol> symbols_;
  std::vector<Merge<Priority>> merges_;  // of symbol i and i + 1
  std::vector<Link> links_;
  std::vector<Entry> heap_;
};

}  // namespace millrace::tokenizer_internal
