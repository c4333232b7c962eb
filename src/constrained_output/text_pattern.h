// TextPattern: what an answer must look like, put together from grammars, schemas, free text and
// markers: reasoning blocks and tool calls around or within an answer are such patterns.
//
// A plain value; OutputGrammar::FromPattern compiles it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace {

struct TextPattern {
  enum class Kind {
    kLiteral,     // `text`
    kMarker,      // the control token of that text, where the vocabulary has one; else as kLiteral
    kJsonSchema,  // JSON that the schema allows (json_schema.h)
    // The members of an object that the schema `text` allows, each as parts[0] key parts[1] value
    // parts[2]; these are literals, markers or sequences of them. Values that are strings whatever
    // happens (argument_types.h) stand there as they are, without the text parts[3] in them; all
    // others as JSON.
    kTaggedMembers,
    kGbnf,      // gbnf.h
    kRegex,     // matches from end to end (regex.h)
    kNoMatch,   // any text in which the regular expression matches nowhere
    kSequence,  // of `parts`; of none: the empty text
    kChoice,    // one of `parts`
    kRepeat,    // of parts[0], `least` to `most` times
  };
  Kind kind = Kind::kSequence;
  std::string text = {};
  std::vector<TextPattern> parts = {};
  int64_t least = 0;
  std::optional<int64_t> most = {};

  static TextPattern Of(Kind kind, std::string text) {
    return {.kind = kind, .text = std::move(text)};
  }
  static TextPattern Sequence(std::vector<TextPattern> parts) {
    return {.kind = Kind::kSequence, .parts = std::move(parts)};
  }
  static TextPattern Choice(std::vector<TextPattern> parts) {
    return {.kind = Kind::kChoice, .parts = std::move(parts)};
  }
  static TextPattern Repeat(TextPattern part, int64_t least, std::optional<int64_t> most) {
    TextPattern repeat{.kind = Kind::kRepeat, .least = least, .most = most};
    repeat.parts.push_back(std::move(part));
    return repeat;
  }
  static TextPattern Optional(TextPattern part) { return Repeat(std::move(part), 0, 1); }
  // Any text in which `literal` does not stand.
  static TextPattern Without(const std::string& literal);

  friend bool operator==(const TextPattern&, const TextPattern&) = default;
};

// `literal` as a regular expression.
std::string EscapedForRegex(const std::string& literal);

}  // namespace millrace
