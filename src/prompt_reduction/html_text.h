// HTML -> the text that a reader sees; the title of a Markdown text.
//
// Invariant: any bytes give a text; scripts, styles and comments give none; nothing is fetched or
// run. No parser of the standard: a tag is what stands between '<' and '>'.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace millrace {

struct HtmlText {
  std::string title;
  std::string text;  // blocks (paragraphs, rows, headings) on lines of their own
};
HtmlText ReadHtml(std::string_view html);

// The first "# Heading" of the first 20 lines; empty where there is none. At most `most_bytes`, cut
// between characters.
std::string MarkdownTitle(std::string_view markdown, size_t most_bytes);

}  // namespace millrace
