#include "prompt_reduction/sentence_chunks.h"

#include <unicode/brkiter.h>
#include <unicode/utext.h>

#include <algorithm>
#include <memory>

namespace millrace {
namespace {

constexpr std::string_view kSpace = " \t\r\n\v\f";
constexpr size_t kWeightOfToken = 12;

bool IsSpace(char c) { return kSpace.find(c) != std::string_view::npos; }
bool ContinuesCharacter(char c) { return (static_cast<unsigned char>(c) & 0xc0u) == 0x80u; }

// In twelfths of a token. By byte alone, so that a text weighs what its parts do.
size_t WeightOf(char c) {
  if (static_cast<unsigned char>(c) < 0x80) return 3;
  return ContinuesCharacter(c) ? 2 : 4;
}

size_t WeightOf(std::string_view text) {
  size_t weight = 0;
  for (const char c : text) weight += WeightOf(c);
  return weight;
}

TextSpan Trimmed(std::string_view text, TextSpan span) {
  while (span.begin < span.end && IsSpace(text[span.begin])) ++span.begin;
  while (span.begin < span.end && IsSpace(text[span.end - 1])) --span.end;
  return span;
}

// The end of a beginning of `text` that weighs at most `limit`, which is at least a character's:
// behind a space of its second half where there is one, else between characters.
size_t CutWithin(std::string_view text, size_t limit) {
  size_t end = 0;
  for (size_t weight = 0; end < text.size(); ++end) {
    weight += WeightOf(text[end]);
    if (weight > limit) break;
  }
  if (end == text.size()) return end;
  for (size_t at = end; at > end / 2; --at) {
    if (IsSpace(text[at - 1])) return at;
  }
  for (size_t at = end; at > 0 && at + 4 > end; --at) {
    if (!ContinuesCharacter(text[at])) return at;
  }
  return end;  // not UTF-8
}

// Ends of sentences in bytes, the last being the text's end. At most 2^31 - 1 bytes.
class SentenceEnds {
 public:
  explicit SentenceEnds(std::string_view text) : size_(text.size()) {
    UErrorCode status = U_ZERO_ERROR;
    iterator_.reset(icu::BreakIterator::createSentenceInstance(icu::Locale::getRoot(), status));
    utext_openUTF8(&utext_, text.data(), static_cast<int64_t>(text.size()), &status);
    if (U_SUCCESS(status)) iterator_->setText(&utext_, status);
    if (U_FAILURE(status)) iterator_.reset();  // one sentence
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

// Chunks of text[from, to), as positions in `text`.
class Chunker {
 public:
  Chunker(std::string_view text, size_t target, std::vector<TextSpan>& chunks)
      : text_(text), target_(target * kWeightOfToken), chunks_(chunks) {}

  void Chunk(size_t from, size_t to) {
    SentenceEnds ends(text_.substr(from, to - from));
    begin_ = from;
    weight_ = 0;
    for (size_t at = from; at < to;) {
      const size_t end = std::max(from + ends.Next(), at + 1);
      TakeSentence(at, end);
      at = end;
    }
    Close(to);
  }

 private:
  void TakeSentence(size_t at, size_t end) {
    size_t sentence = WeightOf(text_.substr(at, end - at));
    if (weight_ > 0 && weight_ + sentence > target_) Close(at);
    // Then weight_ is 0: a sentence that is cut begins a chunk.
    while (sentence > 2 * target_) {
      const std::string_view rest = text_.substr(begin_, end - begin_);
      const size_t cut = CutWithin(rest, target_);
      sentence -= WeightOf(rest.substr(0, cut));
      Close(begin_ + cut);
    }
    weight_ += sentence;
  }

  void Close(size_t end) {
    const TextSpan span = Trimmed(text_, {begin_, end});
    if (span.begin < span.end) chunks_.push_back(span);
    begin_ = end;
    weight_ = 0;
  }

  const std::string_view text_;
  const size_t target_;  // a weight
  std::vector<TextSpan>& chunks_;
  size_t begin_ = 0;  // of the chunk that is being filled
  size_t weight_ = 0;
};

}  // namespace

size_t EstimateTokens(std::string_view text) {
  return (WeightOf(text) + kWeightOfToken - 1) / kWeightOfToken;
}

std::vector<TextSpan> ChunkAtSentences(std::string_view text, size_t target) {
  std::vector<TextSpan> chunks;
  Chunker chunker(text, std::clamp<size_t>(target, 4, size_t{1} << 40), chunks);
  constexpr size_t kPart = size_t{1} << 30;  // ICU counts positions in 32 bits
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.size(), at + kPart);
    while (end < text.size() && end + 4 > at + kPart && ContinuesCharacter(text[end])) --end;
    chunker.Chunk(at, end);
    at = end;
  }
  return chunks;
}

std::vector<TextSpan> Sentences(std::string_view text) {
  text = text.substr(0, size_t{1} << 30);
  std::vector<TextSpan> sentences;
  SentenceEnds ends(text);
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::max(ends.Next(), at + 1);
    const TextSpan span = Trimmed(text, {at, end});
    if (span.begin < span.end) sentences.push_back(span);
    at = end;
  }
  return sentences;
}

std::vector<TextSpan> CutIntoPassages(std::string_view text, size_t target) {
  if (EstimateTokens(text) <= 2 * target) return {{0, text.size()}};
  return ChunkAtSentences(text, target);
}

}  // namespace millrace
