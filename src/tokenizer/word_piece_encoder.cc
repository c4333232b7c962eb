#include "tokenizer/word_piece_encoder.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <iterator>

#include "gguf/gguf.h"
#include "tokenizer/sentencepiece_encoder.h"
#include "tokenizer/utf8.h"

namespace millrace::tokenizer_internal {
namespace {

constexpr int kMostCharacters = 100;  // of a word, as in Hugging Face's WordPiece

utf8proc_category_t UnicodeCategory(uint32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

// Left out of every text: all of category C but tab and line ends. It holds what is unassigned.
bool IsDropped(uint32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  if (c < 0x80) return c < 0x20 || c == 0x7f;
  switch (UnicodeCategory(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CS:
      return true;
    default:
      return c == 0xfffd;
  }
}

// The blocks of ideographs, each of which is a word of its own (not kana, not Hangul).
bool IsChinese(uint32_t c) {
  constexpr struct {
    uint32_t first, last;
  } kBlocks[] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},   {0x20000, 0x2a6df},
                 {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b820, 0x2ceaf}, {0x2f800, 0x2fa1f}};
  return std::any_of(std::begin(kBlocks), std::end(kBlocks),
                     [c](const auto& b) { return b.first <= c && c <= b.last; });
}

// ASCII's symbols count as punctuation ("$", "+"), other alphabets' do not.
bool IsWordPunctuation(uint32_t c) {
  if (c < 0x80) {
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
           (c >= 123 && c <= 126);
  }
  std::string text;
  AppendUtf8(c, text);
  return ClassifyAt(text, 0).Is(kPunctuation);
}

bool IsWhite(uint32_t c) {
  if (c < 0x80) return c == ' ' || c == '\t' || c == '\n' || c == '\r';
  std::string text;
  AppendUtf8(c, text);
  return ClassifyAt(text, 0).Is(kSpace);
}

bool IsCharacterBorder(std::string_view text, size_t pos) {
  return pos == text.size() || (static_cast<unsigned char>(text[pos]) & 0xc0) != 0x80;
}

}  // namespace

Result<WordPieceEncoder> WordPieceEncoder::FromGguf(const GgufFile& file,
                                                    const Vocabulary& vocabulary, TokenId unknown) {
  Options options;
  ASSIGN_OR_RETURN(const auto lowercase, file.FindBool("tokenizer.ggml.normalizer.lowercase"));
  ASSIGN_OR_RETURN(const auto accents, file.FindBool("tokenizer.ggml.normalizer.strip_accents"));
  options.lowercase = lowercase.value_or(true);
  options.strip_accents = accents.value_or(options.lowercase);
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    if (vocabulary.text(id).starts_with(kSpaceMark)) return WordPieceEncoder(options, unknown);
  }
  return Error{
      fmt::format("{} has a WordPiece vocabulary in which no token begins a word (as "
                  "\"\u2581the\" does); convert the model again.",
                  file.name())};
}

void WordPieceEncoder::Encode(const Vocabulary& vocabulary, std::string_view text,
                              std::vector<TokenId>& out) const {
  Word word;
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = DecodeUtf8(text, pos);
    pos += step.length;
    if (step.kind != Utf8Kind::kValid || IsDropped(step.code_point)) continue;
    if (IsWhite(step.code_point)) {
      EndWord(vocabulary, word, out);
      continue;
    }
    const bool alone = IsChinese(step.code_point);
    if (alone) EndWord(vocabulary, word, out);
    AddCharacter(vocabulary, step.code_point, word, out);
    if (alone) EndWord(vocabulary, word, out);
  }
  EndWord(vocabulary, word, out);
}

// Without accents: the canonical decomposition (NFD) less its marks. Marks that stay are of classes
// that have no order among each other to restore.
void WordPieceEncoder::AddCharacter(const Vocabulary& vocabulary, uint32_t c, Word& word,
                                    std::vector<TokenId>& out) const {
  if (c < 0x80 || !options_.strip_accents) return AddNormalised(vocabulary, c, word, out);
  utf8proc_int32_t parts[32];
  int boundary = 0;
  const utf8proc_ssize_t count = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(c), parts, std::ssize(parts), UTF8PROC_DECOMPOSE, &boundary);
  for (utf8proc_ssize_t i = 0; i < std::min(count, std::ssize(parts)); ++i) {
    if (utf8proc_category(parts[i]) == UTF8PROC_CATEGORY_MN) continue;
    AddNormalised(vocabulary, static_cast<uint32_t>(parts[i]), word, out);
  }
}

void WordPieceEncoder::AddNormalised(const Vocabulary& vocabulary, uint32_t c, Word& word,
                                     std::vector<TokenId>& out) const {
  const bool alone = IsWordPunctuation(c);
  if (alone) EndWord(vocabulary, word, out);
  if (word.characters == 0) word.text = kSpaceMark;
  if (options_.lowercase) {
    c = c < 0x80 ? (c >= 'A' && c <= 'Z' ? c + 32 : c)
                 : static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
  }
  // A longer word is unknown whatever it holds.
  if (word.characters <= kMostCharacters) AppendUtf8(c, word.text);
  ++word.characters;
  if (alone) EndWord(vocabulary, word, out);
}

void WordPieceEncoder::EndWord(const Vocabulary& vocabulary, Word& word,
                               std::vector<TokenId>& out) const {
  if (word.characters == 0) return;
  const size_t before = out.size();
  const std::string_view text = word.text;
  size_t begin = word.characters <= kMostCharacters ? 0 : text.size();
  while (begin < text.size()) {
    size_t end = std::min(text.size(), begin + vocabulary.longest_text());
    int32_t id = Vocabulary::kAbsent;
    for (; end > begin; --end) {
      if (!IsCharacterBorder(text, end)) continue;
      id = vocabulary.Find(text.substr(begin, end - begin));
      if (id != Vocabulary::kAbsent) break;
    }
    // The mark alone is no beginning of a word.
    if (id == Vocabulary::kAbsent || (begin == 0 && end <= kSpaceMark.size())) {
      out.resize(before);
      break;
    }
    out.push_back(TokenId(id));
    begin = end;
  }
  if (out.size() == before) out.push_back(unknown_);
  word.characters = 0;
}

}  // namespace millrace::tokenizer_internal
