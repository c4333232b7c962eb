// WordPieceEncoder: BERT's tokenizer (Devlin et al. 2019; Schuster and Nakajima 2012). A text is
// cleaned, cut into words at white space and around punctuation and Chinese characters, and each
// word is covered from the left by the longest tokens that fit.
//
// The rules are those of Hugging Face's BertNormalizer and BertPreTokenizer; tokens look as in GGUF
// files: "▁the" begins a word, "ing" goes on with one. Runs in linear time but for the length of a
// word, which is bounded.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "tokenizer/vocabulary.h"

namespace millrace::tokenizer_internal {

class WordPieceEncoder {
 public:
  struct Options {
    bool lowercase = true;
    bool strip_accents = true;
  };

  // Reads tokenizer.ggml.normalizer.lowercase (default: yes) and .strip_accents (default: as
  // lowercase). A vocabulary in which no token begins a word is an error.
  static Result<WordPieceEncoder> FromGguf(const GgufFile& file, const Vocabulary& vocabulary,
                                           TokenId unknown);

  // Appends the ids of `text`, which has no special tokens. A word that tokens cannot cover, or of
  // more than 100 characters, is the unknown token.
  void Encode(const Vocabulary& vocabulary, std::string_view text, std::vector<TokenId>& out) const;

 private:
  WordPieceEncoder(const Options& options, TokenId unknown)
      : options_(options), unknown_(unknown) {}

  // The characters since the last border between words.
  struct Word {
    std::string text;  // the word mark first
    int characters = 0;
  };
  void AddCharacter(const Vocabulary& vocabulary, uint32_t c, Word& word,
                    std::vector<TokenId>& out) const;
  void AddNormalised(const Vocabulary& vocabulary, uint32_t c, Word& word,
                     std::vector<TokenId>& out) const;
  void EndWord(const Vocabulary& vocabulary, Word& word, std::vector<TokenId>& out) const;

  Options options_;
  TokenId unknown_;
};

}  // namespace millrace::tokenizer_internal
