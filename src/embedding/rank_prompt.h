// RankPrompt: how a decoder that reranks is asked about a query and a document: the GGUF's template
// "rerank", as llama.cpp's converter writes it for Qwen3-Reranker: a text with {query} and
// {document}. Internal to embedding/.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "gguf/gguf.h"
#include "tokenizer/tokenizer.h"

namespace millrace::embedding_internal {

class RankPrompt {
 public:
  // An error that names the key where the file has no such template, or {query} does not stand
  // before {document} in it.
  static Result<RankPrompt> Load(const GgufFile& file, const Tokenizer& tokenizer);

  // Control tokens are the template's alone: those in query and document are plain characters.
  // `tail`: so many tokens stand behind the document.
  struct Encoded {
    std::vector<TokenId> tokens;
    int64_t tail = 0;
  };
  Encoded Encode(const Tokenizer& tokenizer, std::string_view query,
                 std::string_view document) const;

 private:
  // What stands before the part with the query, in it around query and document, and behind it.
  std::vector<TokenId> before_, behind_;
  std::string open_, between_, close_;
};

}  // namespace millrace::embedding_internal
