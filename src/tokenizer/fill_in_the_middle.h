// Which tokens ask a model to fill in the middle of a text.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary.h"

namespace millrace::tokenizer_internal {

// The tokens that the file declares, by `declared` (a metadata key -> its id, nothing where it is
// absent; tokenizer.ggml.fim_pre_token_id, fim_suf_token_id,
// fim_mid_token_id, or their older names prefix_token_id, suffix_token_id, middle_token_id), else
// the well-known ones by their text ("<|fim_prefix|>"); nothing unless all three are there. A token
// of type normal is taken for a word that happens to look so.
Result<std::optional<FillInTheMiddle>> FindFillInTheMiddle(
    const std::function<Result<std::optional<TokenId>>(std::string_view)>& declared,
    const Vocabulary& vocabulary);

}  // namespace millrace::tokenizer_internal
