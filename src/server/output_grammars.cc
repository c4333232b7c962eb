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
    default:
      return OutputGrammar::FromAnyJsonObject(std::move(vocabulary));
  }
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
      if (entry->kind != constraint.kind || entry->text != constraint.text) continue;
      kept_.splice(kept_.begin(), kept_, entry);
      return kept_.front().grammar;
    }
  }
  auto grammar = Compile(constraint, VocabularyOf(tokenizer));
  if (!grammar.ok()) {
    ApiError error = ToApiError(grammar.error());
    error.param = constraint.param;
    error.code = constraint.kind == OutputConstraint::Kind::kJsonSchema ? "invalid_json_schema"
                                                                        : "invalid_grammar";
    return error;
  }
  const std::lock_guard lock(mutex_);
  kept_.push_front({constraint.kind, constraint.text, *grammar});
  if (kept_.size() > kKept) kept_.pop_back();
  return *grammar;
}

}  // namespace millrace::server_internal
