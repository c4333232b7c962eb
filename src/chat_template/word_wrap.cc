#include "chat_template/word_wrap.h"

#include <algorithm>
#include <deque>

#include "chat_template/text.h"

namespace millrace::jinja {
namespace {

// A text by code points, so that positions can be looked at on both sides. Beyond its ends nothing
// belongs to any class.
class Points {
 public:
  explicit Points(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
      const CodePoint c = Decode(text, at);
      values_.push_back(c.value);
      bytes_.push_back(text.substr(at, c.bytes));
      at += c.bytes;
    }
  }
  size_t size() const { return values_.size(); }
  bool Space(size_t i) const { return In(i) && IsBreak(values_[i]); }
  bool Hyphen(size_t i) const { return In(i) && values_[i] == U'-'; }
  bool Word(size_t i) const { return In(i) && IsWord(values_[i]); }
  bool Letter(size_t i) const { return Word(i) && !IsDecimal(values_[i]); }
  bool WordOrMark(size_t i) const {
    return Word(i) || (In(i) && std::u32string_view(U"!\"'&.,?").find(values_[i]) !=
                                    std::u32string_view::npos);
  }
  // The end of a dash of two hyphens or more that begins at i and ends before a word; i where there
  // is none.
  size_t DashEnd(size_t i) const {
    size_t end = i;
    while (Hyphen(end)) ++end;
    return end - i >= 2 && Word(end) ? end : i;
  }
  std::string Text(size_t begin, size_t end) const {
    std::string text;
    for (size_t i = begin; i < end; ++i) text += bytes_[i];
    return text;
  }

 private:
  bool In(size_t i) const { return i < values_.size(); }
  static bool IsBreak(char32_t c) { return c == U' ' || (c >= U'\t' && c <= U'\r'); }

  std::vector<char32_t> values_;
  std::vector<std::string_view> bytes_;
};

struct Chunk {
  size_t begin, end;
  size_t size() const { return end - begin; }
};

// Whether a word may break behind the hyphen at i: letters stand on both sides of it.
bool BreaksBehind(const Points& p, size_t i) {
  if (!p.Hyphen(i)) return false;
  const bool before = (i >= 2 && p.Letter(i - 2) && p.Letter(i - 1)) ||
                      (i >= 3 && p.Letter(i - 3) && p.Hyphen(i - 2) && p.WordOrMark(i - 1));
  const bool after = p.Letter(i + 1) && (p.Letter(i + 2) || (p.Hyphen(i + 2) && p.Letter(i + 3)));
  return before && after;
}

// The end of the piece that begins at i and is never broken: white space, a dash, or a (part of a)
// word.
size_t ChunkEnd(const Points& p, size_t i, bool break_on_hyphens) {
  size_t end = i;
  if (p.Space(i)) {
    while (p.Space(end)) ++end;
    return end;
  }
  if (break_on_hyphens && i > 0 && p.WordOrMark(i - 1) && p.DashEnd(i) > i) return p.DashEnd(i);
  for (end = i + 1; end < p.size() && !p.Space(end); ++end) {
    if (!break_on_hyphens) continue;
    if (BreaksBehind(p, end)) return end + 1;
    if (p.WordOrMark(end - 1) && p.DashEnd(end) > end) return end;
  }
  return end;
}

// Where a chunk that is longer than a line is cut, when `room` code points are left in this one.
size_t LongWordCut(const Points& p, const Chunk& chunk, size_t room, bool break_on_hyphens) {
  if (!break_on_hyphens || chunk.size() <= room) return std::min(room, chunk.size());
  for (size_t hyphen = room; hyphen-- > 1;) {
    if (!p.Hyphen(chunk.begin + hyphen)) continue;
    for (size_t i = chunk.begin; i < chunk.begin + hyphen; ++i) {
      if (!p.Hyphen(i)) return hyphen + 1;
    }
    break;
  }
  return room;
}

bool Blank(const Points& p, const Chunk& chunk) {
  return Strip(p.Text(chunk.begin, chunk.end), StripSide::kBoth).empty();
}

}  // namespace

std::vector<std::string> WrapWords(std::string_view paragraph, const WrapStyle& style) {
  const Points p(paragraph);
  const auto width = static_cast<size_t>(style.width);
  std::deque<Chunk> chunks;
  for (size_t i = 0; i < p.size(); i = chunks.back().end) {
    chunks.push_back({i, ChunkEnd(p, i, style.break_on_hyphens)});
  }
  std::vector<std::string> lines;
  while (!chunks.empty()) {
    std::vector<Chunk> line;
    size_t length = 0;
    if (!lines.empty() && Blank(p, chunks.front())) chunks.pop_front();
    const auto take = [&](Chunk chunk) {
      line.push_back(chunk);
      length += chunk.size();
    };
    while (!chunks.empty() && length + chunks.front().size() <= width) {
      take(chunks.front());
      chunks.pop_front();
    }
    if (!chunks.empty() && chunks.front().size() > width) {
      Chunk& word = chunks.front();
      if (style.break_long_words) {
        const size_t cut = LongWordCut(p, word, width - length, style.break_on_hyphens);
        take({word.begin, word.begin + cut});
        word.begin += cut;
      } else if (line.empty()) {
        take(word);
        chunks.pop_front();
      }
    }
    if (!line.empty() && Blank(p, line.back())) line.pop_back();
    if (line.empty()) continue;
    lines.push_back(p.Text(line.front().begin, line.back().end));
  }
  return lines;
}

}  // namespace millrace::jinja
