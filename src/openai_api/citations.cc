#include "openai_api/citations.h"

#include <algorithm>

namespace millrace {
namespace {

constexpr size_t kMostCited = 64;  // in one pair of brackets

}  // namespace

int64_t CountCharacters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), BeginsCharacter);
}

std::vector<Citation> CitationFinder::Take(std::string_view text) {
  std::vector<Citation> found;
  for (const char c : text) {
    if (BeginsCharacter(c)) ++characters_;  // it stands at characters_ - 1
    TakeByte(c, found);
  }
  return found;
}

void CitationFinder::TakeByte(char c, std::vector<Citation>& found) {
  if (c == '[') {
    inside_ = true;
    begin_ = characters_ - 1;
    numbers_.clear();
    number_ = 0;
    digits_ = false;
  } else if (inside_) {
    inside_ = TakeInside(c, found);
  }
}

// Whether more may follow within the brackets.
bool CitationFinder::TakeInside(char c, std::vector<Citation>& found) {
  if (c >= '0' && c <= '9') {
    digits_ = true;
    number_ = std::min<size_t>(number_ * 10 + static_cast<size_t>(c - '0'), 1'000'000'000);
    return true;
  }
  if (c == ' ') return !digits_;  // only before a number
  if ((c != ',' && c != ']') || !digits_ || numbers_.size() >= kMostCited) return false;
  numbers_.push_back(number_);
  number_ = 0;
  digits_ = false;
  if (c == ',') return true;
  for (const size_t number : numbers_) {
    if (number >= 1 && number <= passages_) found.push_back({number, begin_, characters_});
  }
  return false;
}

}  // namespace millrace
