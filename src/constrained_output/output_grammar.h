// OutputGrammar: what an answer must look like, compiled; OutputMatcher: how far one answer has
// come, and which tokens it may go on with.
//
// Invariants: a token is in the mask if and only if the answer with it is the beginning of a text
// that the grammar allows (with at most kMaxNesting rules open at once; automaton.h), and an end
// token if and only if the answer is such a text. A matcher is a value: a copy goes its own way, so
// tokens that are proposed and refused need no undoing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/id.h"
#include "base/result.h"
#include "constrained_output/output_vocabulary.h"
#include "constrained_output/text_pattern.h"
#include "constrained_output/token_mask.h"

namespace millrace {

namespace constrained_internal {
struct Nfa;
class Automaton;
}  // namespace constrained_internal

inline constexpr size_t kMaxGrammarBytes = 64 * 1024;

class OutputGrammar : public std::enable_shared_from_this<OutputGrammar> {
 public:
  // Each refuses, with a message for the client, what is over kMaxGrammarBytes, malformed, nested
  // too deep, too large or too ambiguous once compiled, or matches nothing. `vocabulary` is kept.
  using Compiled = Result<std::shared_ptr<const OutputGrammar>>;
  using Vocabulary = std::shared_ptr<const OutputVocabulary>;
  // GBNF as llama.cpp documents it, with a rule `root` (gbnf.h).
  static Compiled FromGbnf(std::string_view text, Vocabulary vocabulary);
  // The whole answer matches (regex.h).
  static Compiled FromRegex(std::string_view pattern, Vocabulary vocabulary);

  // The answer is JSON that the schema allows (json_schema.h); an unsupported keyword is an error
  // that names it.
  static Compiled FromJsonSchema(std::string_view schema, Vocabulary vocabulary);
  // Any JSON object.
  static Compiled FromAnyJsonObject(Vocabulary vocabulary);
  // Of all texts in the pattern together: at most kMaxGrammarBytes.
  static Compiled FromPattern(const TextPattern& pattern, Vocabulary vocabulary);

  OutputGrammar(constrained_internal::Nfa nfa, Vocabulary vocabulary);
  ~OutputGrammar();

  const OutputVocabulary& vocabulary() const { return *vocabulary_; }

 private:
  friend class OutputMatcher;
  struct Shared;
  // An error where a limit is met before the first token.
  static Compiled Begun(std::shared_ptr<const OutputGrammar> grammar);

  const Vocabulary vocabulary_;
  const std::unique_ptr<Shared> shared_;
  bool begins_ = false;
};

class OutputMatcher {
 public:
  explicit OutputMatcher(std::shared_ptr<const OutputGrammar> grammar);

  // The tokens that may come next. An error where there is none: the vocabulary cannot spell what
  // the grammar wants, or a limit was met.
  Result<std::shared_ptr<const TokenMask>> Mask();
  // Whether the token may come next; if so, it has. An end token changes nothing.
  bool Take(TokenId token);
  bool IsWhole() const;     // the answer may end here
  bool IsFinished() const;  // and nothing may follow
  bool IsEnd(TokenId token) const { return grammar_->vocabulary().IsEnd(token); }

 private:
  void MoveToRoomyAutomaton();
  std::shared_ptr<const OutputGrammar> grammar_;
  std::shared_ptr<constrained_internal::Automaton> automaton_;
  int32_t state_;
};

}  // namespace millrace
