#include "embedding/rank_prompt.h"

#include <algorithm>

namespace millrace::embedding_internal {
namespace {

constexpr char kRankTemplate[] = "tokenizer.chat_template.rerank";
constexpr std::string_view kQuery = "{query}", kDocument = "{document}";

}  // namespace

Result<RankPrompt> RankPrompt::Load(const GgufFile& file, const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(const auto found, file.FindString(kRankTemplate));
  const auto fail = [&](std::string_view problem) {
    return Error{file.name() + ": a decoder that reranks needs the template '" + kRankTemplate +
                     "' with {query} before {document}, " + std::string(problem) +
                     ": convert the model with a converter that writes it, or use an encoder "
                     "(bert) with a classifier",
                 ErrorKind::kUnsupported};
  };
  if (!found) return fail("which it lacks");
  const std::string_view text = *found;
  const size_t query = text.find(kQuery), document = text.find(kDocument);
  if (query == std::string_view::npos || document == std::string_view::npos || document < query) {
    return fail("and its own is another");
  }
  // Control tokens ("<|im_start|>") are looked for outside the part that query and document stand
  // in, which is tokenised as one text, as if it had been written at once.
  const size_t mark = text.substr(0, query).rfind("|>");
  const size_t begin = mark == std::string_view::npos ? 0 : mark + 2;
  const size_t end = std::min(text.find("<|", document), text.size());
  RankPrompt prompt;
  prompt.before_ = tokenizer.Encode(text.substr(0, begin), SpecialTokens::kParse);
  if (tokenizer.adds_bos() && tokenizer.bos()) {
    prompt.before_.insert(prompt.before_.begin(), *tokenizer.bos());
  }
  prompt.behind_ = tokenizer.Encode(text.substr(end), SpecialTokens::kParse);
  prompt.open_ = text.substr(begin, query - begin);
  prompt.between_ = text.substr(query + kQuery.size(), document - query - kQuery.size());
  prompt.close_ = text.substr(document + kDocument.size(), end - document - kDocument.size());
  return prompt;
}

RankPrompt::Encoded RankPrompt::Encode(const Tokenizer& tokenizer, std::string_view query,
                                       std::string_view document) const {
  Encoded encoded;
  encoded.tokens = before_;
  std::string middle = open_;
  middle.append(query).append(between_).append(document).append(close_);
  const auto tokens = tokenizer.Encode(middle, SpecialTokens::kAsText);
  encoded.tokens.insert(encoded.tokens.end(), tokens.begin(), tokens.end());
  encoded.tokens.insert(encoded.tokens.end(), behind_.begin(), behind_.end());
  encoded.tail = std::ssize(behind_);
  return encoded;
}

}  // namespace millrace::embedding_internal
