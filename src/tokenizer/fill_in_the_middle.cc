#include "tokenizer/fill_in_the_middle.h"

#include <array>
#include <string_view>

namespace millrace::tokenizer_internal {
namespace {

using Declared = std::function<Result<std::optional<TokenId>>(std::string_view)>;

struct Part {
  std::array<std::string_view, 2> keys;
  std::array<std::string_view, 6> texts;
};

// llama.cpp's lists (src/llama-vocab.cpp, special_fim_pre_id and the two after it).
constexpr Part kPrefix = {
    {"tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"},
    {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>"}};
constexpr Part kSuffix = {
    {"tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"},
    {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>"}};
constexpr Part kMiddle = {
    {"tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"},
    {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>"}};

Result<std::optional<TokenId>> Find(const Declared& declared, const Vocabulary& vocabulary,
                                    const Part& part) {
  for (const std::string_view key : part.keys) {
    ASSIGN_OR_RETURN(const auto id, declared(key));
    if (id) return id;
  }
  for (const std::string_view text : part.texts) {
    const int32_t id = vocabulary.Find(text);
    if (id == Vocabulary::kAbsent || vocabulary.type(id) == TokenType::kNormal) continue;
    return std::optional<TokenId>(TokenId(id));
  }
  return std::optional<TokenId>();
}

}  // namespace

Result<std::optional<FillInTheMiddle>> FindFillInTheMiddle(const Declared& declared,
                                                           const Vocabulary& vocabulary) {
  ASSIGN_OR_RETURN(const auto prefix, Find(declared, vocabulary, kPrefix));
  ASSIGN_OR_RETURN(const auto suffix, Find(declared, vocabulary, kSuffix));
  ASSIGN_OR_RETURN(const auto middle, Find(declared, vocabulary, kMiddle));
  if (!prefix || !suffix || !middle) return std::optional<FillInTheMiddle>();
  return std::optional(FillInTheMiddle{*prefix, *suffix, *middle});
}

}  // namespace millrace::tokenizer_internal
