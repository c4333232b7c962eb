// QuickSet: which pairs of numbers were added since the last Clear, which costs nothing. For sets
// that are made and forgotten in millions: its memory stays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/rng.h"

namespace millrace::constrained_internal {

class QuickSet {
 public:
  void Clear() {
    size_ = 0;
    if (++round_ != 0) return;
    slots_.assign(slots_.size(), Slot());
    round_ = 1;
  }
  // Whether it was not there.
  bool Add(uint64_t first, uint64_t second) {
    if (2 * size_ >= slots_.size()) Grow();
    Slot& slot = Find(first, second);
    if (slot.round == round_) return false;
    slot = {first, second, round_};
    ++size_;
    return true;
  }

 private:
  struct Slot {
    uint64_t first = 0, second = 0;
    uint32_t round = 0;
  };
  // Where the pair stands, or would. (At least half of the slots are free.)
  Slot& Find(uint64_t first, uint64_t second) {
    const size_t last = slots_.size() - 1;
    for (size_t at = Mix64(Mix64(first) ^ second) & last;; at = (at + 1) & last) {
      Slot& slot = slots_[at];
      if (slot.round != round_ || (slot.first == first && slot.second == second)) return slot;
    }
  }
  void Grow() {
    std::vector<Slot> old(slots_.size() * 2);
    std::swap(old, slots_);
    for (const Slot& slot : old) {
      if (slot.round == round_) Find(slot.first, slot.second) = slot;
    }
  }

  std::vector<Slot> slots_ = std::vector<Slot>(64);  // a power of two
  size_t size_ = 0;
  uint32_t round_ = 1;
};

}  // namespace millrace::constrained_internal
