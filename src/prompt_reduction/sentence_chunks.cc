#include "prompt_reduction/sentence_chunks.h"

#include <unicode/brkiter.h>
#include <unicode/utext.h>

#include <algorithm>
#include <limits>
#include <memory>

namespace millrace {
namespace {

constexpr std::string_view kSpace = " \t\r\n\v\f";

bool Continues(char c) { return (static_cast<unsigned char>(c) & 0xc0u) == 0x80u; }

TextSpan Trimmed(std::string_view text, TextSpan span) {
  while (span.begin < span.end && kSpace.find(text[span.begin]) != std::string_view::npos) {
    ++span.begin;
  }
  while (span.begin < span.end && kSpace.find(text[span.end - 1]) != std::string_view::npos) {
    --span.end;
  }
  return span;
}

// The end of the longest beginning of [begin, end) of at most `limit` tokens: behind a space of its
// second half where there is one, else between characters.
size_t CutBefore(std::string_view text, size_t begin, size_t end, size_t limit) {
  // Three bytes a token at most, and one at least: a character has at most four.
  size_t cut = std::min(end, begin + limit * 4);
  while (cut > begin + 4 && EstimateTokens(text.substr(begin, cut - begin)) > limit) {
    cut = begin + (cut - begin) * 7 / 8;
  }
  if (cut >= end) return end;
  for (size_t at = cut; at > begin + (cut - begin) / 2; --at) {
    if (kSpace.find(text[at - 1]) != std::string_view::npos) return at;
  }
  for (size_t at = cut; at > begin && at + 3 > cut; --at) {
    if (!Continues(text[at])) return at;
  }
  return cut;
}

// Ends of sentences in bytes, the last being the text's end.
class SentenceEnds {
 public:
  explicit SentenceEnds(std::string_view text) : size_(text.size()) {
    UErrorCode status = U_ZERO_ERROR;
    iterator_.reset(icu::BreakIterator::createSentenceInstance(icu::Locale::getRoot(), status));
    utext_openUTF8(&utext_, text.data(), static_cast<int64_t>(text.size()), &status);
    if (U_SUCCESS(status)) iterator_->setText(&utext_, status);
    if (U_FAILURE(status)) iterator_.reset();
  }
  ~SentenceEnds() { utext_close(&utext_); }
  SentenceEnds(const SentenceEnds&) = delete;
  SentenceEnds& operator=(const SentenceEnds&) = delete;

  size_t Next() {
    const int32_t next = iterator_ ? iterator_->next() : icu::BreakIterator::DONE;
    return next == icu::BreakIterator::DONE ? size_ : static_cast<size_t>(next);
  }

 private:
  const size_t size_;
  UText utext_ = UTEXT_INITIALIZER;
  std::unique_ptr<icu::BreakIterator> iterator_;
};

void AddSpan(std::string_view text, TextSpan span, std::vector<TextSpan>& chunks) {
  span = Trimmed(text, span);
  if (span.begin < span.end) chunks.push_back(span);
}

// [from, from + text.size()) of a longer text.
void ChunkPart(std::string_view text, size_t from, size_t target, std::vector<TextSpan>& chunks) {
  std::vector<TextSpan> own;
  SentenceEnds ends(text);
  size_t begin = 0, at = 0, tokens = 0;
  while (at < text.size()) {
    const size_t end = std::max(ends.Next(), at + 1);
    size_t sentence = EstimateTokens(text.substr(at, end - at));
    if (tokens > 0 && tokens + sentence > target) {
      AddSpan(text, {begin, at}, own);
      begin = at;
      tokens = 0;
    }
    while (sentence > 2 * target) {  // no sentence that fits: cut it
      const size_t cut = CutBefore(text, begin, end, target);
      AddSpan(text, {begin, cut}, own);
      sentence -= std::min(sentence - 1, EstimateTokens(text.substr(begin, cut - begin)));
      begin = cut;
    }
    at = end;
    tokens += sentence;
  }
  AddSpan(text, {begin, text.size()}, own);
  for (const TextSpan& span : own) chunks.push_back({span.begin + from, span.end + from});
}

}  // namespace

size_t EstimateTokens(std::string_view text) {
  size_t ascii = 0, others = 0;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80) {
      ++ascii;
    } else if (!Continues(c)) {
      ++others;
    }
  }
  // Bytes that only continue a character count like ASCII where nothing begins one.
  if (others == 0) ascii = text.size();
  return (ascii * 3 + others * 8 + 11) / 12;
}

std::vector<TextSpan> ChunkAtSentences(std::string_view text, size_t target) {
  target = std::max<size_t>(target, 4);
  std::vector<TextSpan> chunks;
  // ICU counts positions in 32 bits.
  constexpr size_t kPart = size_t{1} << 30;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.size(), at + kPart);
    if (end < text.size()) end = CutBefore(text, at, text.size(), kPart / 4);
    ChunkPart(text.substr(at, end - at), at, target, chunks);
    at = end;
  }
  return chunks;
}

}  // namespace millrace
