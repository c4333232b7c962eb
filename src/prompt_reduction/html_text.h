// HTML -> the text that a reader sees.
//
// Invariant: any bytes give a text; scripts, styles and comments give none; nothing is fetched or
// run. No parser of the standard: a tag is what stands between '<' and '>'.
#pragma once

#include <string>
#include <string_view>

namespace millrace {

struct HtmlText {
  std::string title;
  std::string text;  // blocks (paragraphs, rows, headings) on lines of their own
};
HtmlText ReadHtml(std::string_view html);

}  // namespace millrace
