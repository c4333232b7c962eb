#include "prompt_reduction/html_text.h"

#include <gtest/gtest.h>

#include <random>

namespace millrace {
namespace {

TEST(HtmlText, IsWhatAReaderSees) {
  const HtmlText page = ReadHtml(
      "<!DOCTYPE html><html><head><title>A &amp; B</title><style>p { color: red }</style></head>"
      "<body><h1>Head</h1><p class=\"x\">One <b>bold</b>\n  word.</p><!-- <p>no</p> -->"
      "<ul><li>first<li>second</ul><script>if (a < b) alert('<p>no</p>')</script>"
      "<table><tr><td>a</td><td>b</td></tr></table></body></html>");
  EXPECT_EQ(page.title, "A & B");
  EXPECT_EQ(page.text, "Head\nOne bold word.\nfirst\nsecond\na b");
}

TEST(HtmlText, EntitiesAndLoneMarks) {
  EXPECT_EQ(ReadHtml("1 &lt; 2 &#169; &#x2019; &nosuch; & 3 < 4 &#xd800; &#;").text,
            "1 < 2 \xc2\xa9 \xe2\x80\x99 &nosuch; & 3 < 4 \xef\xbf\xbd &#;");
  EXPECT_EQ(ReadHtml("&lt;script&gt;").text, "<script>");
}

TEST(HtmlText, HiddenElementsEndAtTheirOwnEndOrTheFiles) {
  EXPECT_EQ(ReadHtml("a<SCRIPT>x</b></sCript >b").text, "ab");
  EXPECT_EQ(ReadHtml("a<script>x").text, "a");
  EXPECT_EQ(ReadHtml("a<!-- x").text, "a");
  EXPECT_EQ(ReadHtml("a<p").text, "a");
  EXPECT_EQ(ReadHtml("<title>x").title, "x");
  EXPECT_EQ(ReadHtml("").text, "");
}

TEST(HtmlText, AnyBytesEnd) {
  std::mt19937_64 random(3);
  const std::string pieces[] = {"<", ">", "</",   "<script>", "</script", "<!--", "-->",  "&#", ";",
                                "&", "x", "\xff", "<title>",  "</title>", " ",    "<p/>", "/"};
  for (int round = 0; round < 2000; ++round) {
    std::string html;
    for (size_t i = random() % 60; i > 0; --i) html += pieces[random() % std::size(pieces)];
    const HtmlText page = ReadHtml(html);
    EXPECT_LE(page.text.size() + page.title.size(), 3 * html.size());
  }
}

TEST(MarkdownTitle, IsTheFirstHeading) {
  EXPECT_EQ(MarkdownTitle("---\n# The title \r\n# Another\n", 100), "The title");
  EXPECT_EQ(MarkdownTitle("## no\n#no\ntext", 100), "");
  EXPECT_EQ(MarkdownTitle("", 100), "");
  EXPECT_EQ(MarkdownTitle(std::string(20, '\n') + "# late", 100), "");
  EXPECT_EQ(MarkdownTitle("# \xc3\xa4\xc3\xb6", 3), "\xc3\xa4");  // no half letters
  EXPECT_EQ(MarkdownTitle("# \x80\x80\x80", 2), "");
}

}  // namespace
}  // namespace millrace
