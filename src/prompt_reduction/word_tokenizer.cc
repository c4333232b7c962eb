#include "prompt_reduction/word_tokenizer.h"

#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

namespace millrace {
namespace {

using TokenTaker = int (*)(void* context, int flags, const char* term, int bytes, int begin,
                           int end);

// What FTS5 holds as an Fts5Tokenizer of ours.
struct WordTokenizer {
  fts5_tokenizer base{};
  Fts5Tokenizer* words = nullptr;
  // For pieces of its words: `words` is in the middle of its text then, and has memory for one.
  Fts5Tokenizer* pieces = nullptr;
};

// One text's reading: what the base tokenizer calls, and whom it calls in turn.
struct WordReading {
  WordTokenizer* tokenizer;
  const char* text;
  int flags;  // of the call
  void* context;
  TokenTaker take;
  int offset = 0;  // of the piece that is read in the whole text
};

// The end of the run of letters from `at` that are all unspaced or all not, and its letters.
int RunEnd(const char* text, int at, int end, bool& unspaced, int& letters) {
  letters = 0;
  for (int next = at; at < end; at = next, ++letters) {
    UChar32 letter = 0;
    U8_NEXT(text, next, end, letter);
    const bool is = letter >= 0 && IsUnspaced(static_cast<uint32_t>(letter));
    if (letters > 0 && is != unspaced) return at;
    unspaced = is;
  }
  return end;
}

int NextLetter(const char* text, int at, int end) {
  U8_FWD_1(text, at, end);
  return at;
}

int TakePairs(const WordReading& reading, int begin, int end, int letters) {
  const auto take = [&](int from, int to) {
    return reading.take(reading.context, 0, reading.text + from, to - from, from, to);
  };
  if (letters == 1) return take(begin, end);
  for (int at = begin, middle = NextLetter(reading.text, at, end); middle < end;) {
    const int last = NextLetter(reading.text, middle, end);
    if (const int code = take(at, last); code != SQLITE_OK) return code;
    at = std::exchange(middle, last);
  }
  return SQLITE_OK;
}

int TakeMovedWord(void* context, int flags, const char* term, int bytes, int begin, int end) {
  const auto& reading = *static_cast<const WordReading*>(context);
  return reading.take(reading.context, flags, term, bytes, begin + reading.offset,
                      end + reading.offset);
}

int TakeWord(void* context, int flags, const char* term, int bytes, int begin, int end) {
  const auto& reading = *static_cast<const WordReading*>(context);
  // Letters of those scripts have three bytes or four.
  const bool plain = std::none_of(reading.text + begin, reading.text + end,
                                  [](char c) { return static_cast<unsigned char>(c) >= 0xe0; });
  if (plain) return reading.take(reading.context, flags, term, bytes, begin, end);
  for (int at = begin; at < end;) {
    bool unspaced = false;
    int letters = 0;
    const int run_end = RunEnd(reading.text, at, end, unspaced, letters);
    int code = SQLITE_OK;
    if (unspaced) {
      code = TakePairs(reading, at, run_end, letters);
    } else if (at == begin && run_end == end) {
      return reading.take(reading.context, flags, term, bytes, begin, end);
    } else {
      WordReading piece = reading;
      piece.offset = at;
      code = reading.tokenizer->base.xTokenize(reading.tokenizer->pieces, &piece, reading.flags,
                                               reading.text + at, run_end - at, TakeMovedWord);
    }
    if (code != SQLITE_OK) return code;
    at = run_end;
  }
  return SQLITE_OK;
}

int CreateWords(void* api, const char**, int, Fts5Tokenizer** out) {
  auto made = std::make_unique<WordTokenizer>();
  void* context = nullptr;
  auto* interface = static_cast<fts5_api*>(api);
  int code = interface->xFindTokenizer(interface, "porter", &context, &made->base);
  const char* arguments[] = {"unicode61"};
  if (code == SQLITE_OK) code = made->base.xCreate(context, arguments, 1, &made->words);
  if (code == SQLITE_OK) {
    code = made->base.xCreate(context, arguments, 1, &made->pieces);
    if (code != SQLITE_OK) made->base.xDelete(made->words);
  }
  if (code == SQLITE_OK) *out = reinterpret_cast<Fts5Tokenizer*>(made.release());
  return code;
}

void DeleteWords(Fts5Tokenizer* tokenizer) {
  const std::unique_ptr<WordTokenizer> words(reinterpret_cast<WordTokenizer*>(tokenizer));
  words->base.xDelete(words->words);
  words->base.xDelete(words->pieces);
}

int TokenizeWords(Fts5Tokenizer* tokenizer, void* context, int flags, const char* text, int bytes,
                  TokenTaker take) {
  auto* words = reinterpret_cast<WordTokenizer*>(tokenizer);
  WordReading reading{words, text, flags, context, take};
  return words->base.xTokenize(words->words, &reading, flags, text, bytes, TakeWord);
}

}  // namespace

bool IsUnspaced(uint32_t code_point) {
  struct Range {
    uint32_t first, last;
  };
  // Unicode blocks: Thai and Lao, Burmese, Hangul jamo, Khmer, iteration mark and zero, kana, kana
  // extensions, ideographs with extension A, Hangul, compatibility ideographs, half-width kana and
  // Hangul, further ideographs.
  constexpr std::array<Range, 12> kRanges = {{{0xe00, 0xeff},
                                              {0x1000, 0x109f},
                                              {0x1100, 0x11ff},
                                              {0x1780, 0x17ff},
                                              {0x3005, 0x3007},
                                              {0x3040, 0x30ff},
                                              {0x31f0, 0x31ff},
                                              {0x3400, 0x9fff},
                                              {0xac00, 0xd7ff},
                                              {0xf900, 0xfaff},
                                              {0xff66, 0xffdc},
                                              {0x20000, 0x3ffff}}};
  return std::any_of(kRanges.begin(), kRanges.end(), [code_point](const Range& range) {
    return code_point >= range.first && code_point <= range.last;
  });
}

fts5_api* FullTextInterface(sqlite3* database) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database, "SELECT fts5(?1)", -1, &statement, nullptr) != SQLITE_OK) {
    return nullptr;
  }
  fts5_api* api = nullptr;
  sqlite3_bind_pointer(statement, 1, static_cast<void*>(&api), "fts5_api_ptr", nullptr);
  sqlite3_step(statement);
  sqlite3_finalize(statement);
  return api;
}

Status RegisterWordTokenizer(sqlite3* database) {
  fts5_api* api = FullTextInterface(database);
  fts5_tokenizer functions = {CreateWords, DeleteWords, TokenizeWords};
  if (api == nullptr ||
      api->xCreateTokenizer(api, kWordTokenizer, api, &functions, nullptr) != SQLITE_OK) {
    return Error{
        "This SQLite has no FTS5, which prompt reduction needs: install Debian's libsqlite3-0, or "
        "turn it off with --reduce off.",
        ErrorKind::kUnsupported};
  }
  return {};
}

}  // namespace millrace
