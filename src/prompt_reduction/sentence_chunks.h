// Long texts cut into chunks at the ends of sentences, by Unicode's rules (UAX 29, through ICU), so
// in any language.
//
// Invariant: the chunks are in order and do not overlap; together they hold every byte of the text
// but white space between them. None is longer than twice `target` tokens, whatever the text: a
// sentence that is gets cut between words, a word between characters. Bytes that are not UTF-8 are
// kept as they are. The time is linear in the text.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace millrace {

struct TextSpan {
  size_t begin = 0;
  size_t end = 0;
};

// About how many tokens a text has, without a tokenizer: four ASCII characters, two of an alphabet
// (two bytes each) or one and a half ideographs (three bytes each) to a token. Any bytes count, so
// the parts of a text have at least the whole's tokens together.
size_t EstimateTokens(std::string_view text);

// Whole sentences are put together up to `target` estimated tokens (at least 4).
std::vector<TextSpan> ChunkAtSentences(std::string_view text, size_t target = 200);

// The sentences of a text of at most 1 GiB, without the white space around them; of a longer one
// the beginning's.
std::vector<TextSpan> Sentences(std::string_view text);

// A text of at most twice as many whole, a longer one as above: what is ranked as one passage.
std::vector<TextSpan> CutIntoPassages(std::string_view text, size_t target = 200);

}  // namespace millrace
