// tokenizer.json and its companions -> tokenizer.ggml.*: byte-level BPE ("gpt2"), SentencePiece BPE
// with byte fallback ("llama"), whose scores are the ranks of the merges, and WordPiece ("bert").
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "conversion/metadata_entries.h"

namespace millrace {

// The JSON files of the folder that say something of the tokenizer; null where there is none.
struct TokenizerFiles {
  const nlohmann::json& tokenizer;
  const nlohmann::json& tokenizer_config;
  const nlohmann::json& config;
  std::string chat_template;  // of chat_template.jinja; empty: tokenizer_config's
};

// `vocab_size`: rows of the embedding; tokens that the files do not name are unused ones.
Status AddTokenizer(const TokenizerFiles& files, int64_t vocab_size, MetadataEntries& out);

}  // namespace millrace
