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
#include <functional>
#include <limits>
#include <vector>

namespace millrace::tokenizer_internal {

struct Symbol {
  size_t begin;  // bytes [begin, end) of the word
  size_t end;
  int32_t id;
};

// What merging two neighbours gives.
struct Merge {
  static constexpr uint32_t kNever = std::numeric_limits<uint32_t>::max();
  uint32_t priority = kNever;
  int32_t id = 0;
};

// Scratch memory for one thread's calls.
class SymbolMerger {
 public:
  // Fill this, then call Run; holds the result afterwards.
  std::vector<Symbol>& symbols() { return symbols_; }

  // find(const Symbol& left, const Symbol& right) -> Merge. A word of 2^32 symbols or more is left
  // as it is.
  template <class Find>
  void Run(const Find& find) {
    constexpr size_t kShort = 32;
    if (symbols_.size() <= kShort) {
      RunByScan(find);
    } else if (symbols_.size() < kNone) {
      RunByHeap(find);
    }
  }

  template <class Find>
  void RunByScan(const Find& find) {
    FindAll(find);
    while (!merges_.empty()) {
      const auto best =
          std::min_element(merges_.begin(), merges_.end(),
                           [](const Merge& a, const Merge& b) { return a.priority < b.priority; });
      if (best->priority == Merge::kNever) break;
      const auto i = static_cast<size_t>(best - merges_.begin());
      symbols_[i].end = symbols_[i + 1].end;
      symbols_[i].id = best->id;
      symbols_.erase(symbols_.begin() + static_cast<ptrdiff_t>(i) + 1);
      merges_.erase(best);
      if (i > 0) merges_[i - 1] = find(symbols_[i - 1], symbols_[i]);
      if (i < merges_.size()) merges_[i] = find(symbols_[i], symbols_[i + 1]);
    }
  }

  // A heap entry holds only a priority and a left symbol: it is out of date, and skipped, unless
  // that symbol's merge with its present neighbour has that priority; and then it is right,
  // whenever it was pushed.
  template <class Find>
  void RunByHeap(const Find& find) {
    FindAll(find);
    LinkAll();
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      const uint64_t entry = heap_.back();
      heap_.pop_back();
      const auto left = static_cast<uint32_t>(entry);
      if (merges_[left].priority != entry >> 32) continue;
      const uint32_t right = links_[left].next;
      symbols_[left].end = symbols_[right].end;
      symbols_[left].id = merges_[left].id;
      symbols_[right].end = symbols_[right].begin;
      merges_[right].priority = Merge::kNever;
      const uint32_t next = links_[right].next;
      links_[left].next = next;
      merges_[left].priority = Merge::kNever;
      if (next != kNone) {
        links_[next].previous = left;
        Update(find, left, next);
      }
      if (links_[left].previous != kNone) Update(find, links_[left].previous, left);
    }
    std::erase_if(symbols_, [](const Symbol& s) { return s.begin == s.end; });
  }

 private:
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  struct Link {
    uint32_t previous;
    uint32_t next;
  };
  // Ordered by priority, then by place.
  static uint64_t Entry(uint32_t priority, uint32_t left) {
    return static_cast<uint64_t>(priority) << 32 | left;
  }

  template <class Find>
  void FindAll(const Find& find) {
    merges_.clear();
    for (size_t i = 0; i + 1 < symbols_.size(); ++i) {
      merges_.push_back(find(symbols_[i], symbols_[i + 1]));
    }
  }

  void LinkAll() {
    const auto count = static_cast<uint32_t>(symbols_.size());
    merges_.resize(count);  // the last symbol's: never
    links_.clear();
    heap_.clear();
    for (uint32_t i = 0; i < count; ++i) {
      links_.push_back({i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1});
      if (merges_[i].priority != Merge::kNever) heap_.push_back(Entry(merges_[i].priority, i));
    }
    std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  }

  template <class Find>
  void Update(const Find& find, uint32_t left, uint32_t right) {
    merges_[left] = find(symbols_[left], symbols_[right]);
    if (merges_[left].priority == Merge::kNever) return;
    heap_.push_back(Entry(merges_[left].priority, left));
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }

  std::vector<Symbol> symbols_;
  std::vector<Merge> merges_;  // of a symbol and the one behind it
  std::vector<Link> links_;
  std::vector<uint64_t> heap_;
};

}  // namespace millrace::tokenizer_internal
