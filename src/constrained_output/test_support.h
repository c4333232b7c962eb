// What the tests share: grammars against an independent matcher of their own, over small
// vocabularies.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "constrained_output/output_grammar.h"

namespace millrace {

// The tokens in order, and behind them one that ends the answer.
inline std::shared_ptr<const OutputVocabulary> MakeVocabulary(
    const std::vector<std::string>& texts) {
  std::vector<OutputVocabulary::Token> tokens;
  for (const std::string& text : texts) tokens.push_back({text, false});
  tokens.push_back({"<end>", true});
  const TokenId end(static_cast<int32_t>(texts.size()));
  return std::make_shared<OutputVocabulary>(std::move(tokens), std::vector<TokenId>{end});
}

// All bytes, one token each.
inline std::shared_ptr<const OutputVocabulary> ByteVocabulary() {
  std::vector<std::string> texts;
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  return MakeVocabulary(texts);
}

inline bool TakeText(OutputMatcher& matcher, std::string_view text) {
  for (const char c : text) {
    if (!matcher.Take(TokenId(static_cast<uint8_t>(c)))) return false;
  }
  return true;
}

// With a byte vocabulary: the text is what the grammar allows, whole.
inline bool Accepts(const std::shared_ptr<const OutputGrammar>& grammar, std::string_view text) {
  OutputMatcher matcher(grammar);
  return TakeText(matcher, text) && matcher.IsWhole();
}

inline std::shared_ptr<const OutputGrammar> GbnfOf(std::string_view text) {
  auto grammar = OutputGrammar::FromGbnf(text, ByteVocabulary());
  EXPECT_TRUE(grammar.ok()) << (grammar.ok() ? "" : grammar.error().message);
  return grammar.ok() ? *grammar : nullptr;
}

inline std::shared_ptr<const OutputGrammar> RegexOf(std::string_view pattern) {
  auto grammar = OutputGrammar::FromRegex(pattern, ByteVocabulary());
  EXPECT_TRUE(grammar.ok()) << (grammar.ok() ? "" : grammar.error().message);
  return grammar.ok() ? *grammar : nullptr;
}

inline std::shared_ptr<const OutputGrammar> SchemaOf(std::string_view schema) {
  auto grammar = OutputGrammar::FromJsonSchema(schema, ByteVocabulary());
  EXPECT_TRUE(grammar.ok()) << schema << ": " << (grammar.ok() ? "" : grammar.error().message);
  return grammar.ok() ? *grammar : nullptr;
}

inline std::string SchemaError(std::string_view schema) {
  const auto grammar = OutputGrammar::FromJsonSchema(schema, ByteVocabulary());
  return grammar.ok() ? "" : grammar.error().message;
}

inline std::string GbnfError(std::string_view text) {
  const auto grammar = OutputGrammar::FromGbnf(text, ByteVocabulary());
  return grammar.ok() ? "" : grammar.error().message;
}

inline std::string RegexError(std::string_view pattern) {
  const auto grammar = OutputGrammar::FromRegex(pattern, ByteVocabulary());
  return grammar.ok() ? "" : grammar.error().message;
}

}  // namespace millrace
