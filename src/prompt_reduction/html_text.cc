#include "prompt_reduction/html_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <utility>

namespace millrace {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 22> kBlocks = {
    "p",  "div", "br", "li", "ul", "ol", "tr",      "table",   "h1",     "h2",     "h3",
    "h4", "h5",  "h6", "hr", "dt", "dd", "section", "article", "header", "footer", "blockquote"};
constexpr std::array<Names, 5> kHidden = {"script", "style", "noscript", "template", "svg"};
constexpr std::array<std::pair<Names, Names>, 8> kEntities = {{{"amp", "&"},
                                                               {"lt", "<"},
                                                               {"gt", ">"},
                                                               {"quot", "\""},
                                                               {"apos", "'"},
                                                               {"nbsp", " "},
                                                               {"ndash", "\xe2\x80\x93"},
                                                               {"mdash", "\xe2\x80\x94"}}};

template <size_t kCount>
bool Holds(const std::array<Names, kCount>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

char LowerCase(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool IsHtmlSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string Utf8Of(uint32_t code) {
  if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return "\xef\xbf\xbd";
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xc0 | (code >> 6)), tail(0)};
  if (code < 0x10000) return {static_cast<char>(0xe0 | (code >> 12)), tail(6), tail(0)};
  return {static_cast<char>(0xf0 | (code >> 18)), tail(12), tail(6), tail(0)};
}

// "&#8217;", without the ampersand and the semicolon.
std::string NumberedEntity(std::string_view digits) {
  const bool hex = !digits.empty() && LowerCase(digits[0]) == 'x';
  if (hex) digits.remove_prefix(1);
  uint32_t code = 0;
  for (const char c : digits) {
    const int value = c >= '0' && c <= '9' ? c - '0' : LowerCase(c) - 'a' + 10;
    if (value < 0 || value >= (hex ? 16 : 10)) return {};
    code = std::min<uint32_t>(code * (hex ? 16 : 10) + static_cast<uint32_t>(value), 0x110000);
  }
  return digits.empty() ? std::string() : Utf8Of(code);
}

class HtmlReader {
 public:
  explicit HtmlReader(std::string_view html) : html_(html) {}

  HtmlText Read() {
    while (at_ < html_.size()) {
      const char c = html_[at_];
      if (c == '<' && BeginsTag()) {
        ReadTag();
      } else if (c == '&') {
        ReadEntity();
      } else {
        Put(html_.substr(at_++, 1));
      }
    }
    for (std::string* text : {&out_.title, &out_.text}) {
      while (!text->empty() && IsHtmlSpace(text->back())) text->pop_back();
    }
    return std::move(out_);
  }

 private:
  bool BeginsTag() const {
    const char next = at_ + 1 < html_.size() ? LowerCase(html_[at_ + 1]) : ' ';
    return (next >= 'a' && next <= 'z') || next == '/' || next == '!' || next == '?';
  }

  void ReadTag() {
    if (html_.substr(at_, 4) == "<!--") return SkipBehind("-->");
    const size_t begin = at_ + 1;
    const size_t end = std::min(html_.find('>', begin), html_.size());
    at_ = std::min(end + 1, html_.size());
    std::string name;
    for (size_t i = begin; i < end && name.size() < 16; ++i) {
      const char c = LowerCase(html_[i]);
      if (IsHtmlSpace(c) || (c == '/' && i > begin)) break;
      name += c;
    }
    const bool closing = name.substr(0, 1) == "/";
    const std::string plain = closing ? name.substr(1) : name;
    if (!closing && Holds(kHidden, plain) && html_[end - 1] != '/') return SkipElement(plain);
    if (plain == "title") in_title_ = !closing && out_.title.empty();
    if (Holds(kBlocks, plain)) {
      line_ended_ = true;
    } else if (plain == "td" || plain == "th") {
      space_ = true;
    }
  }

  void SkipBehind(std::string_view mark) {
    const size_t found = html_.find(mark, at_);
    at_ = found == std::string_view::npos ? html_.size() : found + mark.size();
  }

  // To the end of "</name", whatever its case.
  void SkipElement(std::string_view name) {
    while (at_ < html_.size()) {
      at_ = std::min(html_.find("</", at_), html_.size());
      const std::string_view after = html_.substr(std::min(at_ + 2, html_.size()), name.size());
      const bool same = after.size() == name.size() &&
                        std::equal(after.begin(), after.end(), name.begin(),
                                   [](char a, char b) { return LowerCase(a) == b; });
      if (same) return SkipBehind(">");
      at_ = std::min(at_ + 2, html_.size());
    }
  }

  void ReadEntity() {
    const size_t end = html_.substr(0, std::min(html_.size(), at_ + 12)).find(';', at_);
    if (end != std::string_view::npos) {
      const std::string_view name = html_.substr(at_ + 1, end - at_ - 1);
      std::string text;
      if (!name.empty() && name[0] == '#') text = NumberedEntity(name.substr(1));
      for (const auto& [known, means] : kEntities) {
        if (name == known) text = means;
      }
      if (!text.empty()) {
        at_ = end + 1;
        return Put(text);
      }
    }
    Put(html_.substr(at_++, 1));
  }

  // White space is one space, or a line's end where a block has ended.
  void Put(std::string_view text) {
    if (text.size() == 1 && IsHtmlSpace(text[0])) {
      space_ = true;
      return;
    }
    std::string& out = in_title_ ? out_.title : out_.text;
    if (!out.empty() && (line_ended_ || space_)) out += line_ended_ && !in_title_ ? '\n' : ' ';
    line_ended_ = line_ended_ && in_title_;
    space_ = false;
    out += text;
  }

  const std::string_view html_;
  size_t at_ = 0;
  HtmlText out_;
  bool in_title_ = false;
  bool line_ended_ = false;
  bool space_ = false;
};

}  // namespace

HtmlText ReadHtml(std::string_view html) { return HtmlReader(html).Read(); }

std::string MarkdownTitle(std::string_view markdown, size_t most_bytes) {
  constexpr int kTitleLines = 20;
  for (size_t at = 0, lines = 0; at < markdown.size() && lines < kTitleLines; ++lines) {
    const size_t end = std::min(markdown.find('\n', at), markdown.size());
    std::string_view line = markdown.substr(at, end - at);
    at = end + 1;
    if (line.substr(0, 2) != "# ") continue;
    line.remove_prefix(2);
    while (!line.empty() && IsHtmlSpace(line.back())) line.remove_suffix(1);
    size_t bytes = std::min(line.size(), most_bytes);
    const auto continues = [&](size_t i) {
      return i < line.size() && (static_cast<unsigned char>(line[i]) & 0xc0u) == 0x80u;
    };
    while (bytes > 0 && continues(bytes)) --bytes;
    return std::string(line.substr(0, bytes));
  }
  return {};
}

}  // namespace millrace
