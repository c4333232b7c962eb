#include "constrained_output/output_grammar.h"

#include <fmt/format.h>

#include <mutex>
#include <utility>

#include "base/clock.h"
#include "constrained_output/automaton.h"
#include "constrained_output/gbnf.h"
#include "constrained_output/json_schema.h"
#include "constrained_output/pattern_compiler.h"
#include "constrained_output/regex.h"

namespace millrace {
namespace {

using constrained_internal::Automaton;
using constrained_internal::Nfa;
using constrained_internal::NfaBuilder;

// What may be spent, once per grammar, on masks that no answer has asked for yet.
constexpr Duration kPreparing = std::chrono::milliseconds(40);
// An automaton that has grown past this is left to those who use it, and a new one begun.
constexpr size_t kRoomyBytes = 64u << 20;

Status CheckSize(size_t bytes) {
  if (bytes <= kMaxGrammarBytes) return {};
  return Error{fmt::format("The grammar holds {} bytes, but at most {} are allowed.", bytes,
                           kMaxGrammarBytes)};
}

Error TooAmbiguous() {
  return Error{"The grammar is too ambiguous for this answer: it can be read in too many ways.",
               ErrorKind::kUnsupported};
}

size_t BytesOf(const TextPattern& pattern) {
  size_t bytes = pattern.text.size();
  for (const TextPattern& part : pattern.parts) bytes += BytesOf(part);
  return bytes;
}

}  // namespace

struct OutputGrammar::Shared {
  Nfa nfa;
  mutable std::mutex mutex;  // guards every automaton of the grammar
  std::shared_ptr<Automaton> automaton;
};

OutputGrammar::OutputGrammar(Nfa nfa, Vocabulary vocabulary)
    : vocabulary_(std::move(vocabulary)), shared_(std::make_unique<Shared>()) {
  shared_->nfa = std::move(nfa);
  shared_->automaton = std::make_shared<Automaton>(shared_->nfa, *vocabulary_);
  const Clock clock;
  begins_ = shared_->automaton->PrepareMasks(clock, clock.Now() + kPreparing);
}

OutputGrammar::~OutputGrammar() = default;

OutputGrammar::Compiled OutputGrammar::Begun(std::shared_ptr<const OutputGrammar> grammar) {
  if (!grammar->begins_) return TooAmbiguous();
  return grammar;
}

OutputGrammar::Compiled OutputGrammar::FromGbnf(std::string_view text, Vocabulary vocabulary) {
  RETURN_IF_ERROR(CheckSize(text.size()));
  ASSIGN_OR_RETURN(Nfa nfa, constrained_internal::CompileGbnf(text));
  return Begun(std::make_shared<OutputGrammar>(std::move(nfa), std::move(vocabulary)));
}

OutputGrammar::Compiled OutputGrammar::FromRegex(std::string_view pattern, Vocabulary vocabulary) {
  RETURN_IF_ERROR(CheckSize(pattern.size()));
  ASSIGN_OR_RETURN(Nfa nfa, constrained_internal::CompileRegex(pattern));
  return Begun(std::make_shared<OutputGrammar>(std::move(nfa), std::move(vocabulary)));
}

OutputGrammar::Compiled OutputGrammar::FromJsonSchema(std::string_view schema,
                                                      Vocabulary vocabulary) {
  RETURN_IF_ERROR(CheckSize(schema.size()));
  ASSIGN_OR_RETURN(Nfa nfa, constrained_internal::CompileJsonSchema(schema));
  return Begun(std::make_shared<OutputGrammar>(std::move(nfa), std::move(vocabulary)));
}

OutputGrammar::Compiled OutputGrammar::FromAnyJsonObject(Vocabulary vocabulary) {
  return FromJsonSchema(R"({"type": "object"})", std::move(vocabulary));
}

OutputGrammar::Compiled OutputGrammar::FromPattern(const TextPattern& pattern,
                                                   Vocabulary vocabulary) {
  RETURN_IF_ERROR(CheckSize(BytesOf(pattern)));
  ASSIGN_OR_RETURN(Nfa nfa, constrained_internal::CompilePattern(pattern, *vocabulary));
  return Begun(std::make_shared<OutputGrammar>(std::move(nfa), std::move(vocabulary)));
}

OutputMatcher::OutputMatcher(std::shared_ptr<const OutputGrammar> grammar)
    : grammar_(std::move(grammar)) {
  const std::lock_guard lock(grammar_->shared_->mutex);
  automaton_ = grammar_->shared_->automaton;
  state_ = automaton_->initial();
}

// With the mutex held.
void OutputMatcher::MoveToRoomyAutomaton() {
  const auto is_roomy = [](const Automaton& automaton) {
    return automaton.bytes() < kRoomyBytes && !automaton.exhausted();
  };
  if (is_roomy(*automaton_)) return;
  std::shared_ptr<Automaton>& current = grammar_->shared_->automaton;
  if (!is_roomy(*current)) {
    current = std::make_shared<Automaton>(grammar_->shared_->nfa, grammar_->vocabulary());
  }
  state_ = current->CopyState(*automaton_, state_);
  automaton_ = current;
}

Result<std::shared_ptr<const TokenMask>> OutputMatcher::Mask() {
  const std::lock_guard lock(grammar_->shared_->mutex);
  MoveToRoomyAutomaton();
  std::shared_ptr<const TokenMask> mask = automaton_->MaskOf(state_);
  if (automaton_->exhausted()) {
    return TooAmbiguous();
  }
  if (!mask->AllowsAny()) {
    return Error{fmt::format("No token of the model's vocabulary continues the answer as the "
                             "grammar asks, or it nests deeper than {} levels.",
                             Automaton::kMaxNesting),
                 ErrorKind::kUnsupported};
  }
  return mask;
}

bool OutputMatcher::Take(TokenId token) {
  const std::lock_guard lock(grammar_->shared_->mutex);
  if (token.value < 0 || token.value >= grammar_->vocabulary().size()) return false;
  if (grammar_->vocabulary().IsEnd(token)) return automaton_->accepts(state_);
  const int32_t next = automaton_->NextToken(state_, token);
  if (next == Automaton::kDead) return false;
  state_ = next;
  return true;
}

bool OutputMatcher::IsWhole() const {
  const std::lock_guard lock(grammar_->shared_->mutex);
  return automaton_->accepts(state_);
}

bool OutputMatcher::IsFinished() const {
  const std::lock_guard lock(grammar_->shared_->mutex);
  return automaton_->accepts(state_) && !automaton_->CanGoOn(state_);
}

}  // namespace millrace
