// Tokenizer: text <-> token ids, as the model's GGUF metadata defines it.
//
// Three models: byte-level BPE ("gpt2"; Sennrich et al. 2016, Radford et al. 2019), SentencePiece
// BPE with byte fallback ("llama"; Kudo and Richardson 2018) and WordPiece ("bert"; Devlin et al.
// 2019), whose normalisation loses capitals and accents.
// Invariant: Decode(Encode(text)) == text for byte-level BPE, and for both kinds of BPE ids equal
// those of llama.cpp for the same file (for text that is valid UTF-8). Immutable after
// construction; every const method may run on many threads at once.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"

namespace millrace {

class GgufFile;

// Whether text such as "<|im_start|>" becomes the special token (templates) or plain characters (a
// user's words).
enum class SpecialTokens { kAsText, kParse };
// Whether decoding shows control tokens as their text or leaves them out.
enum class ControlTokens { kHide, kShow };

// The tokens that stand before the text so far, before the text that follows, and before what is to
// be filled in between (Bavarian et al. 2022, "Efficient Training of Language Models to Fill in the
// Middle", section 3: the order prefix, suffix, middle).
struct FillInTheMiddle {
  TokenId prefix, suffix, middle;
};

class Tokenizer {
 public:
  // Reads `tokenizer.ggml.*`. An unknown model or pre-tokeniser is an error that names it and lists
  // the known ones.
  static Result<Tokenizer> FromGguf(const GgufFile& file);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Adds no BOS or EOS. Bytes that are not UTF-8 are encoded too (byte-level), never refused.
  std::vector<TokenId> Encode(std::string_view text, SpecialTokens special) const;
  // The raw bytes of one token (may be part of a UTF-8 character). Control tokens: empty when
  // hidden. An id outside the vocabulary gives the empty string.
  std::string_view TokenBytes(TokenId id, ControlTokens control = ControlTokens::kHide) const;
  // The bytes that `id` adds to a text that is decoded token by token: TokenBytes, without the
  // space that encoding put before the text and after every special token (SentencePiece). `state`
  // goes from one call to the next.
  struct DecodeState {
    bool drops_space = true;
  };
  std::string_view DecodeNext(TokenId id, DecodeState& state,
                              ControlTokens control = ControlTokens::kHide) const;
  // All bytes of a sequence, with the clean-up the model asks for (SentencePiece: the leading space
  // that encoding added).
  std::string Decode(std::span<const TokenId> ids,
                     ControlTokens control = ControlTokens::kHide) const;
  // The token's text as the vocabulary file has it ("Ġthe").
  std::string_view TokenText(TokenId id) const;
  std::optional<TokenId> FindToken(std::string_view text) const;  // by vocabulary text

  int32_t vocab_size() const;
  std::optional<TokenId> bos() const;  // WordPiece: [CLS]
  std::optional<TokenId> eos() const;  // WordPiece: [SEP]
  // What stands between two texts that a cross-encoder reads together.
  std::optional<TokenId> separator() const;
  bool adds_bos() const;  // whether a prompt (not a rendered template) should begin with BOS
  bool adds_eos() const;
  bool IsControl(TokenId id) const;
  bool IsEndOfGeneration(TokenId id) const;  // eos, eot and the well-known end-of-turn tokens
  std::span<const TokenId> end_of_generation() const;
  // Nothing where the model was not made to fill in.
  std::optional<FillInTheMiddle> fill_in_the_middle() const;
  // SentencePiece: a space is put before the text. WordPiece: every word has one.
  bool adds_space_prefix() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace millrace
