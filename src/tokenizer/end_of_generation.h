// Which tokens end a generation.
#pragma once

#include <optional>
#include <vector>

#include "tokenizer/vocabulary.h"

namespace millrace::tokenizer_internal {

// The ids of `declared` and of the well-known end-of-turn and end-of-file tokens by their text
// ("<|eot_id|>"), sorted. A token of type normal is taken for a word that happens to look so,
// unless the file gives no types. The tokens found become control tokens: some files give them
// another type.
std::vector<TokenId> FindEndOfGeneration(Vocabulary& vocabulary,
                                         const std::vector<std::optional<TokenId>>& declared);

}  // namespace millrace::tokenizer_internal
