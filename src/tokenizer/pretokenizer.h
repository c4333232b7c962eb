// Pre-tokenisers: cut a text into the words within which byte-level BPE merges.
//
// Each is written by hand after the pattern that defines it (given at its function in
// pretokenizer.cc), and tested against that pattern in a regular-expression engine. Runs in linear
// time. Invariant: the words are not empty and their concatenation is the text.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::tokenizer_internal {

enum class PretokenizerKind {
  kDefault,      // for files that name none: punctuation, then GPT-2, then groups of three digits
  kGpt2,         // Radford et al. 2019
  kDigitsFirst,  // every digit alone, then GPT-2
  kLlama3,       // up to three digits in a word
  kQwen2,        // as Llama 3, but one digit in a word
};

// What the name in `tokenizer.ggml.pre` stands for.
struct Pretokenizer {
  PretokenizerKind kind = PretokenizerKind::kDefault;
  bool ignore_merges = false;  // a word that is a token needs no merges
  bool adds_bos = false;       // unless the file says otherwise
};

std::optional<Pretokenizer> FindPretokenizer(std::string_view name);
// All names that FindPretokenizer knows, for messages.
std::string KnownPretokenizers();

class WordSplitter {
 public:
  // `text` must outlive the splitter and its words.
  WordSplitter(PretokenizerKind kind, std::string_view text) : kind_(kind), text_(text) {}
  // The next word; empty at the end.
  std::string_view Next();

 private:
  size_t NextEnd();
  size_t DigitsFirstEnd();
  size_t DefaultEnd();

  PretokenizerKind kind_;
  std::string_view text_;
  size_t pos_ = 0;
  // Ends of the pieces of the earlier passes that the position lies in, for the kinds with several.
  size_t first_pass_end_ = 0;
  size_t second_pass_end_ = 0;
  size_t third_pass_end_ = 0;
};

}  // namespace millrace::tokenizer_internal
