// LookupDrafter: what followed when the sequence last said what it says now. The longest run of
// tokens that ends the sequence and stands in it earlier; of equally long ones the latest.
//
// Source: prompt lookup decoding (Saxena 2023); as "copy" in Yang et al., Inference with Reference
// (arXiv:2304.04487, 2023). Keeps nothing between calls.
#pragma once

#include "speculative_decoding/drafter.h"

namespace millrace {

class LookupDrafter : public Drafter {
 public:
  static constexpr int32_t kShortestMatch = 2;
  static constexpr int32_t kLongestMatch = 12;  // a longer match says no more

  DrafterKind kind() const override { return DrafterKind::kLookup; }
  void Draft(std::span<DraftTask* const> tasks) override;
  void Finish(RequestId, std::string_view, std::span<const TokenId>, int32_t) override {}
};

}  // namespace millrace
