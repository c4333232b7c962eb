// Citations in an answer: "[2]", "[1, 3]", as the model was shown its passages.
//
// Invariant: what is found does not depend on how the text was cut into pieces. A number that no
// passage has is no citation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace millrace {

// Places in texts are counted in characters: in the bytes that begin one.
constexpr bool BeginsCharacter(char c) { return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u; }
int64_t CountCharacters(std::string_view text);

struct Citation {
  size_t number = 0;  // of the passage, from 1
  int64_t begin = 0;  // where the brackets stand in the answer, in characters
  int64_t end = 0;
};

class CitationFinder {
 public:
  explicit CitationFinder(size_t passages) : passages_(passages) {}

  // The citations that the next piece of the answer completes.
  std::vector<Citation> Take(std::string_view text);

 private:
  void TakeByte(char c, std::vector<Citation>& found);
  bool TakeInside(char c, std::vector<Citation>& found);

  size_t passages_;
  int64_t characters_ = 0;  // before the next one
  bool inside_ = false;     // an opening bracket and nothing wrong since
  int64_t begin_ = 0;
  std::vector<size_t> numbers_;
  size_t number_ = 0;  // its digits so far
  bool digits_ = false;
};

}  // namespace millrace
