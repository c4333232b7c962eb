// A passage: a piece of a document that may go into a prompt.
#pragma once

#include <cstddef>
#include <string>

namespace millrace {

struct Passage {
  std::string id;  // of its document; the client's name for it
  std::string title;
  std::string text;
  size_t begin = 0;  // where it stands in the document's text, in bytes
};

}  // namespace millrace
