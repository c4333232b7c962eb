// The vocabulary of a model file, as constrained output sees it: for tests and benchmarks.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "constrained_output/output_vocabulary.h"
#include "gguf/gguf.h"
#include "tokenizer/tokenizer.h"

namespace millrace {

// Nothing where the file or its tokenizer cannot be read.
inline std::shared_ptr<const OutputVocabulary> LoadVocabulary(const std::string& file) {
  const auto mapped = MappedGguf::Open(file);
  if (!mapped.ok()) return nullptr;
  const auto tokenizer = Tokenizer::FromGguf(mapped->file());
  if (!tokenizer.ok()) return nullptr;
  std::vector<OutputVocabulary::Token> tokens;
  for (int32_t i = 0; i < tokenizer->vocab_size(); ++i) {
    tokens.push_back({std::string(tokenizer->TokenBytes(TokenId(i), ControlTokens::kShow)),
                      tokenizer->IsControl(TokenId(i))});
  }
  const auto ends = tokenizer->end_of_generation();
  return std::make_shared<OutputVocabulary>(std::move(tokens),
                                            std::vector(ends.begin(), ends.end()));
}

}  // namespace millrace
