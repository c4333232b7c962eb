#include "tokenizer/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "gguf/gguf.h"
#include "tokenizer/hash.h"

namespace millrace::tokenizer_internal {
namespace {

// Far above any real vocabulary; ids and the table's size stay small.
constexpr size_t kMostTokens = size_t{1} << 22;

TokenType TypeOf(int64_t number) {
  return number >= 0 && number <= 6 ? static_cast<TokenType>(number) : TokenType::kUndefined;
}

Error WrongCount(const GgufFile& file, std::string_view key, size_t count, size_t tokens) {
  return Error{
      fmt::format("{}: {} has {} entries, but there are {} tokens; the file is damaged, "
                  "download it again.",
                  file.name(), key, count, tokens)};
}

Result<std::vector<TokenType>> ReadTypes(const GgufFile& file, size_t tokens) {
  constexpr std::string_view kKey = "tokenizer.ggml.token_type";
  ASSIGN_OR_RETURN(const std::vector<int64_t>* const numbers, file.FindInts(kKey));
  std::vector<TokenType> types(tokens, TokenType::kNormal);
  if (numbers == nullptr) return types;
  if (numbers->size() != tokens) return WrongCount(file, kKey, numbers->size(), tokens);
  std::transform(numbers->begin(), numbers->end(), types.begin(), TypeOf);
  return types;
}

Result<std::vector<float>> ReadScores(const GgufFile& file, size_t tokens) {
  constexpr std::string_view kKey = "tokenizer.ggml.scores";
  constexpr double kMost = 1e30;
  ASSIGN_OR_RETURN(const std::vector<double>* const numbers, file.FindFloats(kKey));
  std::vector<float> scores(tokens, 0.0f);
  if (numbers == nullptr) return scores;
  if (numbers->size() != tokens) return WrongCount(file, kKey, numbers->size(), tokens);
  for (size_t i = 0; i < tokens; ++i) {
    if (!(std::abs((*numbers)[i]) <= kMost)) {
      return Error{
          fmt::format("{}: the score of token {} in {} is not a number of sensible size; "
                      "the file is damaged, download it again.",
                      file.name(), i, kKey)};
    }
    scores[i] = static_cast<float>((*numbers)[i]);
  }
  return scores;
}

}  // namespace

Result<Vocabulary> Vocabulary::FromGguf(const GgufFile& file) {
  constexpr std::string_view kKey = "tokenizer.ggml.tokens";
  ASSIGN_OR_RETURN(const std::vector<std::string_view>* const texts, file.FindStrings(kKey));
  if (texts == nullptr || texts->empty()) {
    return Error{fmt::format("{} has no vocabulary (metadata key '{}'); use a complete model file.",
                             file.name(), kKey)};
  }
  if (texts->size() > kMostTokens) {
    return Error{fmt::format("{} has {} tokens, but Millrace reads at most {}.", file.name(),
                             texts->size(), kMostTokens)};
  }
  Vocabulary vocabulary;
  for (std::string_view text : *texts) {
    vocabulary.texts_.Add(text);
    vocabulary.longest_text_ = std::max(vocabulary.longest_text_, text.size());
  }
  ASSIGN_OR_RETURN(vocabulary.types_, ReadTypes(file, texts->size()));
  ASSIGN_OR_RETURN(vocabulary.scores_, ReadScores(file, texts->size()));
  vocabulary.has_types_ = file.Find("tokenizer.ggml.token_type") != nullptr;
  RETURN_IF_ERROR(vocabulary.IndexTexts(file));
  return vocabulary;
}

Status Vocabulary::IndexTexts(const GgufFile& file) {
  slots_.resize(std::bit_ceil(2 * texts_.size()));
  const size_t mask = slots_.size() - 1;
  for (int32_t id = 0; id < size(); ++id) {
    // Files pad their vocabulary with empty texts, which no text can become.
    if (text(id).empty()) continue;
    const uint64_t hash = HashBytes(text(id));
    size_t at = hash & mask;
    for (; slots_[at].id != kAbsent; at = (at + 1) & mask) {
      if (text(slots_[at].id) == text(id)) {
        return Error{
            fmt::format("{}: tokens {} and {} have the same text; the file is damaged, "
                        "download it again.",
                        file.name(), slots_[at].id, id)};
      }
    }
    slots_[at] = {static_cast<uint32_t>(hash >> 32), id};
  }
  return {};
}

int32_t Vocabulary::Find(std::string_view wanted) const {
  if (wanted.size() > longest_text_) return kAbsent;
  const uint64_t hash = HashBytes(wanted);
  const auto tag = static_cast<uint32_t>(hash >> 32);
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask; slots_[at].id != kAbsent; at = (at + 1) & mask) {
    if (slots_[at].hash == tag && text(slots_[at].id) == wanted) return slots_[at].id;
  }
  return kAbsent;
}

}  // namespace millrace::tokenizer_internal
