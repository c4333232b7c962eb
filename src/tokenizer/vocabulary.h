// Vocabulary: the tokens of a GGUF file, with their types and scores, and the way back from a text
// to its id.
//
// Invariant: owns all its text; non-empty texts are unique. Ids run from 0 to size() - 1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"

namespace millrace {
class GgufFile;
}

namespace millrace::tokenizer_internal {

// With the file's numbers.
enum class TokenType : uint8_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

// Strings kept one behind the other.
class StringPool {
 public:
  void Add(std::string_view text) {
    bytes_ += text;
    ends_.push_back(bytes_.size());
  }
  std::string_view operator[](size_t i) const {
    const size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(bytes_).substr(begin, ends_[i] - begin);
  }
  size_t size() const { return ends_.size(); }

 private:
  std::string bytes_;
  std::vector<size_t> ends_;
};

class Vocabulary {
 public:
  // Reads tokenizer.ggml.tokens, .token_type and .scores. Without token types every token is
  // normal; without scores every score is 0.
  static Result<Vocabulary> FromGguf(const GgufFile& file);

  int32_t size() const { return static_cast<int32_t>(texts_.size()); }
  bool Contains(TokenId id) const { return id.value >= 0 && id.value < size(); }
  std::string_view text(int32_t id) const { return texts_[static_cast<size_t>(id)]; }
  TokenType type(int32_t id) const { return types_[static_cast<size_t>(id)]; }
  float score(int32_t id) const { return scores_[static_cast<size_t>(id)]; }
  bool has_types() const { return has_types_; }
  size_t longest_text() const { return longest_text_; }
  void set_type(int32_t id, TokenType type) { types_[static_cast<size_t>(id)] = type; }

  static constexpr int32_t kAbsent = -1;
  // The id, or kAbsent: this is called for every pair of neighbours while merging.
  int32_t Find(std::string_view text) const;

 private:
  struct Slot {
    uint32_t hash = 0;
    int32_t id = kAbsent;
  };
  Status IndexTexts(const GgufFile& file);

  StringPool texts_;
  std::vector<TokenType> types_;
  std::vector<float> scores_;
  std::vector<Slot> slots_;  // open addressing; a power of two, at most half full
  size_t longest_text_ = 0;
  bool has_types_ = false;
};

}  // namespace millrace::tokenizer_internal
