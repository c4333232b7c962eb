#include "tokenizer/text_stream.h"

#include <algorithm>

#include "tokenizer/utf8.h"

namespace millrace {
namespace {

using tokenizer_internal::DecodeUtf8;
using tokenizer_internal::Utf8Kind;
using tokenizer_internal::Utf8Step;

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

// Knuth, Morris and Pratt's failure function: [n] for the first n bytes.
std::vector<size_t> MakeFallback(std::string_view text) {
  std::vector<size_t> fallback(text.size() + 1, 0);
  size_t matched = 0;
  for (size_t i = 1; i < text.size(); ++i) {
    while (matched > 0 && text[i] != text[matched]) matched = fallback[matched];
    if (text[i] == text[matched]) ++matched;
    fallback[i + 1] = matched;
  }
  return fallback;
}

}  // namespace

TextStream::TextStream(const Tokenizer& tokenizer, std::vector<std::string> stop_strings,
                       ControlTokens control)
    : tokenizer_(&tokenizer), control_(control) {
  for (std::string& text : stop_strings) {
    if (text.empty() || !tokenizer_internal::IsUtf8(text)) continue;
    std::vector<size_t> fallback = MakeFallback(text);
    stops_.push_back({std::move(text), std::move(fallback), 0});
  }
}

void TextStream::AcceptByte(char byte) {
  text_ += byte;
  const Stop* complete = nullptr;
  for (Stop& stop : stops_) {
    while (stop.matched > 0 && stop.text[stop.matched] != byte) {
      stop.matched = stop.fallback[stop.matched];
    }
    if (stop.text[stop.matched] == byte) ++stop.matched;
    if (stop.matched < stop.text.size()) continue;
    if (complete == nullptr || stop.text.size() > complete->text.size()) complete = &stop;
    stop.matched = stop.fallback[stop.matched];
  }
  if (complete == nullptr) return;
  stopped_ = true;
  stop_string_ = complete->text;
  text_.resize(text_.size() - stop_string_.size());
}

void TextStream::Accept(std::string_view text) {
  for (size_t i = 0; i < text.size() && !stopped_; ++i) AcceptByte(text[i]);
}

std::string TextStream::TakeCertain() {
  size_t held = 0;
  if (!stopped_) {
    for (const Stop& stop : stops_) held = std::max(held, stop.matched);
  }
  std::string certain = text_.substr(0, text_.size() - held);
  text_.erase(0, certain.size());
  return certain;
}

void TextStream::GoOnBehind(std::span<const TokenId> tokens) {
  for (const TokenId token : tokens) tokenizer_->DecodeNext(token, decode_state_, control_);
}

std::string TextStream::Append(TokenId token) {
  if (stopped_) return {};
  const bool shown = std::find(shown_.begin(), shown_.end(), token) != shown_.end();
  bytes_ += tokenizer_->DecodeNext(token, decode_state_, shown ? ControlTokens::kShow : control_);
  size_t taken = 0;
  while (taken < bytes_.size() && !stopped_) {
    const Utf8Step step = DecodeUtf8(bytes_, taken);
    if (step.kind == Utf8Kind::kIncomplete) break;
    Accept(step.kind == Utf8Kind::kValid ? std::string_view(bytes_).substr(taken, step.length)
                                         : kReplacement);
    taken += step.length;
  }
  bytes_.erase(0, taken);
  return TakeCertain();
}

std::string TextStream::Finish() {
  if (stopped_) return {};
  if (!bytes_.empty()) Accept(kReplacement);
  bytes_.clear();
  for (Stop& stop : stops_) stop.matched = 0;
  return TakeCertain();
}

}  // namespace millrace
