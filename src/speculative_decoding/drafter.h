// Drafter: proposes the tokens that may come next, cheaply. What it proposes is checked by the
// target model, so a drafter can make a step slower or faster, but never an answer another.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "constrained_output/output_grammar.h"
#include "sampling/sampler.h"

namespace millrace {

// The longest draft of one sequence in one step.
inline constexpr int32_t kMaxDraft = 16;
inline constexpr int32_t kConfidences = 4;

enum class DrafterKind { kLookup, kSuffix, kModel };
inline constexpr size_t kDrafterKinds = 3;
constexpr std::string_view NameOf(DrafterKind kind) {
  constexpr std::array<std::string_view, kDrafterKinds> kNames = {"lookup", "suffix", "draft"};
  return kNames[static_cast<size_t>(kind)];
}

// One sequence for which tokens are proposed.
struct DraftTask {
  RequestId request;
  std::span<const TokenId> tokens;         // prompt and output; at least 1
  std::string_view space = {};             // what sequences of other namespaces said is not used
  const Sampler* sampler = nullptr;        // the request's, for drafters that sample
  const OutputMatcher* matcher = nullptr;  // the request's, if its answers are constrained
  std::span<const BlockId> block_table;    // covers tokens.size() + wanted positions
  int32_t wanted = 0;                      // at most so many tokens, at most kMaxDraft
  // The drafter's answer: 0 to `wanted` tokens, and how sure it is of them, in classes: for each
  // the rate at which they are right is learnt.
  std::vector<TokenId> draft = {};
  int32_t confidence = 0;  // 0 to kConfidences - 1
};

class Drafter {
 public:
  virtual ~Drafter() = default;
  virtual DrafterKind kind() const = 0;
  // Fills in the drafts of all tasks, which are of different requests.
  virtual void Draft(std::span<DraftTask* const> tasks) = 0;
  // The request has ended; `tokens`: all of them, the output from `prompt_tokens` on.
  virtual void Finish(RequestId request, std::string_view space, std::span<const TokenId> tokens,
                      int32_t prompt_tokens) = 0;
};

}  // namespace millrace
