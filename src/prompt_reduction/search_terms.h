// TermReader: a text's words as full-text search compares them (word_tokenizer.h), so that passages
// of a request are ranked by the same words as those of a store.
//
// Invariant: any bytes are read; punctuation and query syntax are only what separates words. Not
// for two threads at once.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "base/result.h"

namespace millrace {

class TermReader {
 public:
  static Result<TermReader> Create();
  TermReader(TermReader&&) noexcept;
  TermReader& operator=(TermReader&&) noexcept;
  ~TermReader();

  // Calls take(term) for each word. At most 1 GiB of the text is read.
  void Read(std::string_view text, const std::function<void(std::string_view)>& take);
  // The same, with the piece of the text that each word was made of.
  using TakeWithSource = std::function<void(std::string_view term, std::string_view source)>;
  void ReadWithSource(std::string_view text, const TakeWithSource& take);

 private:
  struct Impl;
  explicit TermReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
