// SuffixDrafter: what usually followed the longest runs that end the sequence, in the sequence
// itself and in recent outputs of its namespace; as long as the continuations agree.
//
// Each place where the run stands votes for the token after it, longer runs with more weight. The
// token with the most votes is proposed, those who voted for it vote on, and the draft ends where
// the votes say that it is more likely wrong than right. Source: SuffixDecoding (Oliaro et al.,
// arXiv:2411.04975, 2024); escape probability as in PPM (Cleary and Witten, 1984).
#pragma once

#include <map>
#include <memory>
#include <string>

#include "speculative_decoding/drafter.h"
#include "speculative_decoding/suffix_index.h"

namespace millrace {

class SuffixDrafter : public Drafter {
 public:
  static constexpr size_t kTokensPerSpace = size_t{1} << 16;  // of recent outputs
  static constexpr size_t kMaxSpaces = 64;                    // the one unused longest goes first
  static constexpr int32_t kMostVoters = 16;                  // from either source
  static constexpr size_t kLongestMatch = 12;
  static constexpr double kLeastProbability = 0.4;  // of the whole draft up to its last token

  DrafterKind kind() const override { return DrafterKind::kSuffix; }
  void Draft(std::span<DraftTask* const> tasks) override;
  // Keeps the output for the others of the namespace.
  void Finish(RequestId request, std::string_view space, std::span<const TokenId> tokens,
              int32_t prompt_tokens) override;
  size_t spaces() const { return spaces_.size(); }

 private:
  // A place where the end of the sequence stands, too: what follows votes.
  struct Voter {
    std::span<const TokenId> following;
    double weight;
  };
  struct Space {
    SuffixIndex outputs{kTokensPerSpace};
    int64_t last_used = 0;
  };

  void DraftOne(DraftTask& task);
  void AddVoter(std::span<const TokenId> text, size_t position, std::span<const TokenId> tokens);
  void CollectVoters(const DraftTask& task);
  // The winner and its probability.
  std::pair<TokenId, double> Vote(size_t place) const;

  std::map<std::string, Space, std::less<>> spaces_;
  int64_t use_ = 0;
  std::vector<Voter> voters_;  // scratch
};

}  // namespace millrace
