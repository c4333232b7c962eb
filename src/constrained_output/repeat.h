// Repetition of a piece of an automaton: shared by the compilers of grammars and schemas.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "constrained_output/nfa.h"

namespace millrace::constrained_internal {

// Repetitions of more than this are refused before anything is built.
inline constexpr int64_t kMaxRepetition = 30'000;

// `add` builds one copy of the piece between two states; it is called more than once. Between
// `from` and `to` then stand `least` to `most` copies (no `most`: any number). What the states
// cost is one per copy and those of the copies.
inline void Repeat(NfaBuilder& builder, NfaBuilder::State from, NfaBuilder::State to, int64_t least,
                   std::optional<int64_t> most,
                   const std::function<void(NfaBuilder::State, NfaBuilder::State)>& add) {
  NfaBuilder::State at = builder.NewState();  // nothing leads back into `from`
  builder.Empty(from, at);
  for (int64_t i = 0; i < least && builder.within_budget(); ++i) {
    const NfaBuilder::State next = builder.NewState();
    add(at, next);
    at = next;
  }
  if (!most) {
    const NfaBuilder::State loop = builder.NewState();
    builder.Empty(at, loop);
    add(loop, loop);
    return builder.Empty(loop, to);
  }
  for (int64_t i = least; i < *most && builder.within_budget(); ++i) {
    const NfaBuilder::State next = builder.NewState();
    builder.Empty(at, to);
    add(at, next);
    at = next;
  }
  builder.Empty(at, to);
}

}  // namespace millrace::constrained_internal
