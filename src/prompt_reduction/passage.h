// A passage: a piece of a document that may go into a prompt, and the form in which it goes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace millrace {

struct Passage {
  std::string id;  // of its document; the client's name for it
  std::string title;
  std::string text;
  size_t document = 0;  // which of the documents given it is from
  size_t begin = 0;     // where it stands in the document's text, in bytes
};

// "[1] Title: text", without the title where there is none: the form that the demo model was taught
// (models/corpus.py), and a common one. Passages stand on lines of their own, numbered from 1.
std::string NumberedLine(size_t number, std::string_view title, std::string_view text);

// "Title: text", or the text alone: what models are asked about.
std::string TitledText(std::string_view title, std::string_view text);

// "a9" before "a10" before "b": numbers by value, the rest by bytes.
bool NaturallyLess(std::string_view a, std::string_view b);

}  // namespace millrace
