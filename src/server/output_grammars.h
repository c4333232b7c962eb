// OutputGrammars: constraints of requests -> compiled grammars, kept for requests to come. Internal
// to server/.
//
// Invariant: what Get returns is for the tokenizer given; the last kKept grammars are kept. From
// any thread; compiling holds no lock, so a slow one delays nobody else.
#pragma once

#include <list>
#include <memory>
#include <mutex>

#include "constrained_output/output_grammar.h"
#include "openai_api/api_error.h"
#include "openai_api/request_parser.h"
#include "tokenizer/tokenizer.h"

namespace millrace::server_internal {

class OutputGrammars {
 public:
  static constexpr size_t kKept = 32;

  // Null where the constraint is none. A bad grammar or schema: a 400 that names the field.
  ApiResult<std::shared_ptr<const OutputGrammar>> Get(const OutputConstraint& constraint,
                                                      const Tokenizer& tokenizer);

 private:
  struct Entry {
    OutputConstraint::Kind kind;
    std::string text;
    TextPattern pattern;
    std::shared_ptr<const OutputGrammar> grammar;
  };
  std::shared_ptr<const OutputVocabulary> VocabularyOf(const Tokenizer& tokenizer);

  std::once_flag vocabulary_made_;
  std::shared_ptr<const OutputVocabulary> vocabulary_;  // made when first needed
  std::mutex mutex_;
  std::list<Entry> kept_;  // used last first
};

}  // namespace millrace::server_internal
