#include "tokenizer/pretokenizer.h"

#include "tokenizer/utf8.h"

namespace millrace::tokenizer_internal {
namespace {

constexpr uint8_t kNotOther = kLetter | kNumber | kSpace;

struct Name {
  std::string_view name;
  Pretokenizer pretokenizer;
};

constexpr Pretokenizer kGpt2 = {PretokenizerKind::kGpt2};
constexpr Pretokenizer kDigitsFirst = {PretokenizerKind::kDigitsFirst};
constexpr Pretokenizer kLlama3 = {PretokenizerKind::kLlama3, true, true};
constexpr Pretokenizer kLlama3WithMerges = {PretokenizerKind::kLlama3};
constexpr Pretokenizer kQwen2 = {PretokenizerKind::kQwen2};

constexpr Name kNames[] = {
    {"default", {PretokenizerKind::kDefault}},
    {"gpt-2", kGpt2},
    {"phi-2", kGpt2},
    {"mpt", kGpt2},
    {"olmo", kGpt2},
    {"jais", kGpt2},
    {"exaone4", kGpt2},
    {"trillion", kGpt2},
    {"granite-docling", kGpt2},
    {"smollm", kDigitsFirst},
    {"starcoder", kDigitsFirst},
    {"refact", kDigitsFirst},
    {"command-r", kDigitsFirst},
    {"codeshell", kDigitsFirst},
    {"exaone", kDigitsFirst},
    {"minerva-7b", kDigitsFirst},
    {"llama-bpe", kLlama3},
    {"llama3", kLlama3},
    {"llama-v3", kLlama3},
    {"falcon3", kLlama3},
    {"pixtral", kLlama3},
    {"lfm2", kLlama3},
    {"dbrx", kLlama3WithMerges},
    {"smaug-bpe", kLlama3WithMerges},
    {"qwen2", kQwen2},
    {"deepseek-r1-qwen", kQwen2},
    {"stablelm2", kQwen2},
    {"megrez", kQwen2},
    {"hunyuan", kQwen2},
};

// The end of the run of characters from `pos` of which `is` holds.
template <class Predicate>
size_t RunEndIf(std::string_view text, size_t pos, Predicate is) {
  while (pos < text.size()) {
    const ClassifiedChar c = ClassifyAt(text, pos);
    if (!is(c)) break;
    pos += c.length;
  }
  return pos;
}

size_t RunEnd(std::string_view text, size_t pos, uint8_t any_of) {
  return RunEndIf(text, pos, [&](ClassifiedChar c) { return c.Is(any_of); });
}

size_t OtherRunEnd(std::string_view text, size_t pos) {
  return RunEndIf(text, pos, [](ClassifiedChar c) { return !c.Is(kNotOther); });
}

bool IsAt(std::string_view text, size_t pos, uint8_t any_of) {
  return pos < text.size() && ClassifyAt(text, pos).Is(any_of);
}

bool IsOtherAt(std::string_view text, size_t pos) {
  return pos < text.size() && !ClassifyAt(text, pos).Is(kNotOther);
}

enum class LetterCase { kLower, kAny };

// The length of 's|'t|'re|'ve|'m|'ll|'d at `pos`, or 0.
size_t ContractionLength(std::string_view text, size_t pos, LetterCase letter_case) {
  if (text[pos] != '\'') return 0;
  const auto at = [&](size_t i) {
    if (pos + i >= text.size()) return '\0';
    const char c = text[pos + i];
    const bool fold = letter_case == LetterCase::kAny && c >= 'A' && c <= 'Z';
    return fold ? static_cast<char>(c + ('a' - 'A')) : c;
  };
  const char first = at(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  const char second = at(2);
  const bool is_three = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
                        (first == 'l' && second == 'l');
  return is_three ? 3 : 0;
}

// A run of white space, and the places in it where a pattern may end a word.
struct SpaceRun {
  size_t end;
  size_t last_begin;   // where its last character begins
  size_t newline_end;  // behind its last \r or \n; `begin` if it has none
};

SpaceRun FindSpaceRun(std::string_view text, size_t begin) {
  SpaceRun run = {begin, begin, begin};
  while (run.end < text.size()) {
    const ClassifiedChar c = ClassifyAt(text, run.end);
    if (!c.Is(kSpace)) break;
    run.last_begin = run.end;
    run.end += c.length;
    if (c.Is(kNewline)) run.newline_end = run.end;
  }
  return run;
}

// \s+(?!\S)|\s+ : the last space of several is left for the word behind it.
size_t SpaceWordEnd(std::string_view text, size_t begin, const SpaceRun& run) {
  return run.end == text.size() || run.last_begin == begin ? run.end : run.last_begin;
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t Gpt2WordEnd(std::string_view text, size_t pos) {
  if (const size_t length = ContractionLength(text, pos, LetterCase::kLower)) return pos + length;
  const size_t body = text[pos] == ' ' && pos + 1 < text.size() ? pos + 1 : pos;
  const ClassifiedChar c = ClassifyAt(text, body);
  if (c.Is(kLetter)) return RunEnd(text, body, kLetter);
  if (c.Is(kNumber)) return RunEnd(text, body, kNumber);
  if (!c.Is(kSpace)) return OtherRunEnd(text, body);
  return SpaceWordEnd(text, pos, FindSpaceRun(text, pos));
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
// ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ with `most_digits` for the 3; Qwen 2 has 1.
size_t Llama3WordEnd(std::string_view text, size_t pos, int most_digits) {
  if (const size_t length = ContractionLength(text, pos, LetterCase::kAny)) return pos + length;
  const ClassifiedChar c = ClassifyAt(text, pos);
  if (c.Is(kLetter)) return RunEnd(text, pos, kLetter);
  if (c.Is(kNumber)) {
    size_t end = pos;
    for (int i = 0; i < most_digits && IsAt(text, end, kNumber); ++i) {
      end += ClassifyAt(text, end).length;
    }
    return end;
  }
  if (!c.Is(kNewline) && IsAt(text, pos + c.length, kLetter)) {
    return RunEnd(text, pos + c.length, kLetter);
  }
  const size_t body = text[pos] == ' ' ? pos + 1 : pos;
  if (IsOtherAt(text, body)) {
    return RunEnd(text, OtherRunEnd(text, body), kNewline);
  }
  const SpaceRun run = FindSpaceRun(text, pos);
  return run.newline_end > pos ? run.newline_end : SpaceWordEnd(text, pos, run);
}

// [\p{P}$+<=>^~|]
bool IsDefaultPunctuation(std::string_view text, size_t pos) {
  constexpr std::string_view kSymbols = "$+<=>^~|";
  return kSymbols.find(text[pos]) != std::string_view::npos ||
         ClassifyAt(text, pos).Is(kPunctuation);
}

bool IsAsciiDigit(char c) { return c >= '0' && c <= '9'; }

// The end of the piece of `text` that begins at `pos` when [0-9][0-9][0-9] is cut out of it.
size_t DigitGroupEnd(std::string_view text, size_t pos) {
  const auto is_group = [&](size_t at) {
    return at + 3 <= text.size() && IsAsciiDigit(text[at]) && IsAsciiDigit(text[at + 1]) &&
           IsAsciiDigit(text[at + 2]);
  };
  if (is_group(pos)) return pos + 3;
  size_t end = pos + 1;
  while (end < text.size() && !is_group(end)) ++end;
  return end;
}

}  // namespace

std::optional<Pretokenizer> FindPretokenizer(std::string_view name) {
  for (const Name& known : kNames) {
    if (known.name == name) return known.pretokenizer;
  }
  return std::nullopt;
}

std::string KnownPretokenizers() {
  std::string names;
  for (const Name& known : kNames) {
    if (!names.empty()) names += ", ";
    names += known.name;
  }
  return names;
}

std::string_view WordSplitter::Next() {
  const size_t begin = pos_;
  if (begin == text_.size()) return {};
  pos_ = NextEnd();
  return text_.substr(begin, pos_ - begin);
}

size_t WordSplitter::NextEnd() {
  switch (kind_) {
    case PretokenizerKind::kGpt2:
      return Gpt2WordEnd(text_, pos_);
    case PretokenizerKind::kLlama3:
      return Llama3WordEnd(text_, pos_, 3);
    case PretokenizerKind::kQwen2:
      return Llama3WordEnd(text_, pos_, 1);
    case PretokenizerKind::kDigitsFirst:
      return DigitsFirstEnd();
    case PretokenizerKind::kDefault:
      break;
  }
  return DefaultEnd();
}

// Two passes: \p{N} is cut out, then GPT-2's pattern cuts what lies between.
size_t WordSplitter::DigitsFirstEnd() {
  const ClassifiedChar c = ClassifyAt(text_, pos_);
  if (c.Is(kNumber)) return pos_ + c.length;
  if (pos_ >= first_pass_end_) {
    first_pass_end_ = RunEndIf(text_, pos_, [](ClassifiedChar x) { return !x.Is(kNumber); });
  }
  return Gpt2WordEnd(text_.substr(0, first_pass_end_), pos_);
}

// Four passes, each within the pieces of the one before: [\p{P}$+<=>^~|]+ is cut out, then GPT-2's
// pattern, then \p{N}+, then [0-9][0-9][0-9].
size_t WordSplitter::DefaultEnd() {
  if (pos_ >= first_pass_end_) {
    const bool is_punctuation = IsDefaultPunctuation(text_, pos_);
    first_pass_end_ = pos_;
    while (first_pass_end_ < text_.size() &&
           IsDefaultPunctuation(text_, first_pass_end_) == is_punctuation) {
      first_pass_end_ += ClassifyAt(text_, first_pass_end_).length;
    }
  }
  if (pos_ >= second_pass_end_) {
    second_pass_end_ = Gpt2WordEnd(text_.substr(0, first_pass_end_), pos_);
  }
  if (pos_ >= third_pass_end_) {
    const bool is_number = IsAt(text_, pos_, kNumber);
    third_pass_end_ = RunEndIf(text_.substr(0, second_pass_end_), pos_,
                               [&](ClassifiedChar c) { return c.Is(kNumber) == is_number; });
  }
  return DigitGroupEnd(text_.substr(0, third_pass_end_), pos_);
}

}  // namespace millrace::tokenizer_internal
