#include "server/output_grammars.h"

#include <utility>

namespace millrace::server_internal {
namespace {

OutputGrammar::Compiled Compile(const OutputConstraint& constraint,
                                std::shared_ptr<const OutputVocabulary> vocabulary) {
  switch (constraint.kind) {
    case OutputConstraint::Kind::kGbnf:
      return OutputGrammar::FromGbnf(constraint.text, std::move(vocabulary));
    case OutputConstraint::Kind::kRegex:
      return OutputGrammar::FromRegex(constraint.text, std::move(vocabulary));
    case OutputConstraint::Kind::kJsonSchema:
      return OutputGrammar::FromJsonSchema(constraint.text, std::move(vocabulary));
    case OutputConstraint::Kind::kPattern:
      return OutputGrammar::FromPattern(constraint.pattern, std::move(vocabulary));
    default:
      return OutputGrammar::FromAnyJsonObject(std::move(vocabulary));
  }
}

// The error of the first part that does not compile by itself; of all together, where each does.
ApiError ErrorOfConstraint(const OutputConstraint& constraint, const Error& whole,
                           const std::shared_ptr<const OutputVocabulary>& vocabulary) {
  ApiError error = ToApiError(whole);
  error.param = constraint.param;
  bool is_schema = constraint.kind == OutputConstraint::Kind::kJsonSchema;
  for (const auto& [param, part] : constraint.parts) {
    const auto alone = OutputGrammar::FromPattern(part, vocabulary);
    if (alone.ok()) continue;
    error = ToApiError(alone.error());
    error.param = param;
    is_schema = part.kind == TextPattern::Kind::kJsonSchema ||
                part.kind == TextPattern::Kind::kTaggedMembers;
    break;
  }
  error.code = is_schema ? "invalid_json_schema" : "invalid_grammar";
  return error;
}

}  // namespace

std::shared_ptr<const OutputVocabulary> OutputGrammars::VocabularyOf(const Tokenizer& tokenizer) {
  std::call_once(vocabulary_made_, [&] {
    std::vector<OutputVocabulary::Token> tokens;
    for (int32_t i = 0; i < tokenizer.vocab_size(); ++i) {
      const TokenId id(i);
      tokens.push_back({.bytes = std::string(tokenizer.TokenBytes(id, ControlTokens::kShow)),
                        .control = tokenizer.IsControl(id)});
    }
    const auto ends = tokenizer.end_of_generation();
    vocabulary_ = std::make_shared<OutputVocabulary>(std::move(tokens),
                                                     std::vector(ends.begin(), ends.end()));
  });
  return vocabulary_;
}

ApiResult<std::shared_ptr<const OutputGrammar>> OutputGrammars::Get(
    const OutputConstraint& constraint, const Tokenizer& tokenizer) {
  if (constraint.kind == OutputConstraint::Kind::kNone) {
    return std::shared_ptr<const OutputGrammar>();
  }
  {
    const std::lock_guard lock(mutex_);
    for (auto entry = kept_.begin(); entry != kept_.end(); ++entry) {
      const bool same = entry->kind == constraint.kind && entry->text == constraint.text &&
                        entry->pattern == constraint.pattern;
      if (!same) continue;
      kept_.splice(kept_.begin(), kept_, entry);
      return kept_.front().grammar;
    }
  }
  auto grammar = Compile(constraint, VocabularyOf(tokenizer));
  if (!grammar.ok()) {
    return ErrorOfConstraint(constraint, grammar.error(), VocabularyOf(tokenizer));
  }
  const std::lock_guard lock(mutex_);
  kept_.push_front({constraint.kind, constraint.text, constraint.pattern, *grammar});
  if (kept_.size() > kKept) kept_.pop_back();
  return *grammar;
}

}  // namespace millrace::server_internal
