#include "tokenizer/end_of_generation.h"

#include <algorithm>
#include <string_view>

namespace millrace::tokenizer_internal {
namespace {

// llama.cpp's list (src/llama-vocab.cpp, special_eog_ids): ends of a turn or text, and of a file in
// a prompt that asks to fill in the middle.
constexpr std::string_view kTexts[] = {
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<eos>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<|file_sep|>",
};

}  // namespace

std::vector<TokenId> FindEndOfGeneration(Vocabulary& vocabulary,
                                         const std::vector<std::optional<TokenId>>& declared) {
  std::vector<TokenId> ids;
  for (const std::optional<TokenId>& id : declared) {
    if (id) ids.push_back(*id);
  }
  for (std::string_view text : kTexts) {
    const int32_t id = vocabulary.Find(text);
    if (id == Vocabulary::kAbsent) continue;
    const TokenType type = vocabulary.type(id);
    const bool is_word = type == TokenType::kNormal || type == TokenType::kByte;
    if (is_word && vocabulary.has_types()) continue;
    vocabulary.set_type(id, TokenType::kControl);
    ids.push_back(TokenId(id));
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

}  // namespace millrace::tokenizer_internal
