#include "speculative_decoding/suffix_index.h"

#include <utility>

#include "base/rng.h"

namespace millrace {

size_t SuffixIndex::HeadOf(std::span<const TokenId> key) {
  const auto high = static_cast<uint64_t>(static_cast<uint32_t>(key[0].value)) << 32;
  return Mix64(high | static_cast<uint32_t>(key[1].value)) % kHeads;
}

void SuffixIndex::Append(std::span<const TokenId> text) {
  for (const TokenId token : text) Push(token);
  Push(kBorder);
}

void SuffixIndex::Push(TokenId token) {
  if (text_.size() >= capacity_) DropOlderHalf();
  int32_t before = kNone;
  if (text_.size() >= kKeyTokens && text_.back() != kBorder) {
    int32_t& head = heads_[HeadOf(std::span(text_).last(kKeyTokens))];
    before = std::exchange(head, static_cast<int32_t>(text_.size()));
  }
  text_.push_back(token);
  earlier_.push_back(before);
}

void SuffixIndex::DropOlderHalf() {
  const std::vector<TokenId> kept(text_.begin() + static_cast<std::ptrdiff_t>(text_.size() / 2),
                                  text_.end());
  text_.clear();
  earlier_.clear();
  heads_.assign(kHeads, kNone);
  for (const TokenId token : kept) Push(token);
}

}  // namespace millrace
