#include "tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <variant>

#include "gguf/gguf.h"
#include "tokenizer/byte_pair_encoder.h"
#include "tokenizer/end_of_generation.h"
#include "tokenizer/fill_in_the_middle.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/sentencepiece_encoder.h"
#include "tokenizer/special_token_finder.h"
#include "tokenizer/vocabulary.h"
#include "tokenizer/word_piece_encoder.h"

namespace millrace {

using tokenizer_internal::BytePairEncoder;
using tokenizer_internal::Fragment;
using tokenizer_internal::Pretokenizer;
using tokenizer_internal::SentencePieceEncoder;
using tokenizer_internal::SpecialTokenFinder;
using tokenizer_internal::StringPool;
using tokenizer_internal::TokenType;
using tokenizer_internal::Vocabulary;
using tokenizer_internal::WordPieceEncoder;

struct Tokenizer::Impl {
  Vocabulary vocabulary;
  StringPool pieces;  // the bytes that each token stands for
  SpecialTokenFinder special_tokens;
  std::variant<BytePairEncoder, SentencePieceEncoder, WordPieceEncoder> encoder;
  std::optional<TokenId> bos;
  std::optional<TokenId> eos;
  std::optional<TokenId> separator;
  std::vector<TokenId> end_of_generation;  // sorted
  std::optional<FillInTheMiddle> fill_in_the_middle;
  bool adds_bos = false;
  bool adds_eos = false;
  bool adds_space_prefix = false;

  // Tokens that Encode finds as such in a text, not by merging.
  bool IsSpecial(TokenId id) const {
    const TokenType type = vocabulary.type(id.value);
    return type == TokenType::kControl || type == TokenType::kUnknown ||
           type == TokenType::kUserDefined;
  }
  bool IsHidden(TokenId id) const {
    const TokenType type = vocabulary.type(id.value);
    return type == TokenType::kControl || type == TokenType::kUnknown;
  }
};

namespace {

enum class ModelKind { kBytePair, kSentencePiece, kWordPiece };

Result<ModelKind> ReadModelKind(const GgufFile& file) {
  ASSIGN_OR_RETURN(const std::string_view model, file.RequireString("tokenizer.ggml.model"));
  if (model == "gpt2") return ModelKind::kBytePair;
  if (model == "llama") return ModelKind::kSentencePiece;
  if (model == "bert") return ModelKind::kWordPiece;
  return Error{fmt::format("{} has a tokenizer of the model '{}', which Millrace does not know; it "
                           "knows gpt2 (byte-level BPE), llama (SentencePiece BPE) and bert "
                           "(WordPiece).",
                           file.name(), model),
               ErrorKind::kUnsupported};
}

Result<Pretokenizer> ReadPretokenizer(const GgufFile& file) {
  ASSIGN_OR_RETURN(const auto name, file.FindString("tokenizer.ggml.pre"));
  const auto pretokenizer = tokenizer_internal::FindPretokenizer(name.value_or("default"));
  if (pretokenizer) return *pretokenizer;
  return Error{fmt::format("{} has the pre-tokenizer '{}' (metadata key 'tokenizer.ggml.pre'), "
                           "which Millrace does not know; it knows {}.",
                           file.name(), *name, tokenizer_internal::KnownPretokenizers()),
               ErrorKind::kUnsupported};
}

// Nothing where the key is absent or says -1 (in 32 bits, signed or not), as some files do for
// "none".
Result<std::optional<TokenId>> ReadId(const GgufFile& file, const Vocabulary& vocabulary,
                                      std::string_view key) {
  constexpr int64_t kNone = 0xffffffff;
  ASSIGN_OR_RETURN(const auto value, file.FindInt(key, -1, kNone));
  if (!value || *value == -1 || *value == kNone) return std::optional<TokenId>();
  RETURN_IF_ERROR(file.FindInt(key, 0, vocabulary.size() - 1));
  return std::optional<TokenId>(TokenId(static_cast<int32_t>(*value)));
}

std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t pos = 0; pos < text.size();) {
    if (text.substr(pos).starts_with(tokenizer_internal::kSpaceMark)) {
      out += ' ';
      pos += tokenizer_internal::kSpaceMark.size();
    } else {
      out += text[pos++];
    }
  }
  return out;
}

Result<StringPool> MakePieces(const GgufFile& file, const Vocabulary& vocabulary, ModelKind kind) {
  StringPool pieces;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view text = vocabulary.text(id);
    switch (vocabulary.type(id)) {
      case TokenType::kNormal:
        pieces.Add(kind == ModelKind::kBytePair ? tokenizer_internal::DecodeByteCharacters(text)
                                                : Unescape(text));
        break;
      case TokenType::kUnknown:
      case TokenType::kControl:
      case TokenType::kUserDefined:
        pieces.Add(text);
        break;
      case TokenType::kByte: {
        const auto byte = tokenizer_internal::ParseByteToken(text);
        if (!byte) {
          return Error{
              fmt::format("{}: token {} is of type byte, but its text is not like "
                          "\"<0x0A>\"; the file is damaged, download it again.",
                          file.name(), id)};
        }
        const char c = static_cast<char>(*byte);
        pieces.Add({&c, 1});
        break;
      }
      case TokenType::kUndefined:
      case TokenType::kUnused:
        pieces.Add("");
    }
  }
  return pieces;
}

Result<SpecialTokenFinder> MakeSpecialTokens(const GgufFile& file, const Vocabulary& vocabulary) {
  constexpr size_t kMostBytes = size_t{1} << 22;
  SpecialTokenFinder finder;
  size_t bytes = 0;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const TokenType type = vocabulary.type(id);
    const bool always = type == TokenType::kUserDefined;
    if (!always && type != TokenType::kControl && type != TokenType::kUnknown) continue;
    const auto found =
        always ? SpecialTokenFinder::Found::kAlways : SpecialTokenFinder::Found::kWhenParsing;
    if (!finder.Add(vocabulary.text(id), TokenId(id), found)) continue;
    bytes += vocabulary.text(id).size();
    if (bytes > kMostBytes) {
      return Error{
          fmt::format("{}: the texts of the special tokens are over {} bytes long, more "
                      "than Millrace reads.",
                      file.name(), kMostBytes)};
    }
  }
  return finder;
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

namespace {

// The tokens that files name by their number.
struct NamedTokens {
  std::optional<TokenId> bos, eos, eot, eom, unknown, separator;
};

// Where the file does not say, the numbers that the kind of tokenizer usually has, as far as the
// vocabulary reaches.
void FillIn(const GgufFile& file, const Vocabulary& vocabulary, ModelKind kind,
            NamedTokens& named) {
  const auto fill = [&](std::optional<TokenId>& token, std::string_view key, int32_t usual) {
    if (token || vocabulary.size() <= usual || file.Find(key) != nullptr) return;
    token = TokenId(usual);
  };
  if (kind == ModelKind::kSentencePiece) {
    if (!named.unknown) named.unknown = TokenId(0);
    fill(named.bos, "tokenizer.ggml.bos_token_id", 1);
    fill(named.eos, "tokenizer.ggml.eos_token_id", 2);
  } else if (kind == ModelKind::kWordPiece) {
    fill(named.unknown, "tokenizer.ggml.unknown_token_id", 100);
    fill(named.bos, "tokenizer.ggml.bos_token_id", 101);
    fill(named.eos, "tokenizer.ggml.eos_token_id", 102);
  }
  if (!named.separator) named.separator = named.eos;
}

Result<NamedTokens> ReadNamedTokens(const GgufFile& file, const Vocabulary& vocabulary,
                                    ModelKind kind) {
  NamedTokens named;
  const auto read_id = [&](std::string_view key) { return ReadId(file, vocabulary, key); };
  ASSIGN_OR_RETURN(named.bos, read_id("tokenizer.ggml.bos_token_id"));
  ASSIGN_OR_RETURN(named.eos, read_id("tokenizer.ggml.eos_token_id"));
  ASSIGN_OR_RETURN(named.unknown, read_id("tokenizer.ggml.unknown_token_id"));
  ASSIGN_OR_RETURN(named.eot, read_id("tokenizer.ggml.eot_token_id"));
  ASSIGN_OR_RETURN(named.eom, read_id("tokenizer.ggml.eom_token_id"));
  // The key is spelt so.
  ASSIGN_OR_RETURN(named.separator, read_id("tokenizer.ggml.seperator_token_id"));
  if (kind == ModelKind::kWordPiece) {
    ASSIGN_OR_RETURN(const auto cls, read_id("tokenizer.ggml.cls_token_id"));
    if (cls) named.bos = cls;
    if (named.separator) named.eos = named.separator;
  }
  FillIn(file, vocabulary, kind, named);
  if (kind == ModelKind::kWordPiece && !(named.bos && named.eos && named.unknown)) {
    return Error{
        fmt::format("{} has a WordPiece tokenizer but does not say which tokens are "
                    "[CLS], [SEP] and [UNK]; convert the model again.",
                    file.name())};
  }
  return named;
}

}  // namespace

Result<Tokenizer> Tokenizer::FromGguf(const GgufFile& file) {
  ASSIGN_OR_RETURN(const ModelKind kind, ReadModelKind(file));
  ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::FromGguf(file));
  ASSIGN_OR_RETURN(const NamedTokens named, ReadNamedTokens(file, vocabulary, kind));
  Pretokenizer pretokenizer;
  if (kind == ModelKind::kBytePair) {
    ASSIGN_OR_RETURN(pretokenizer, ReadPretokenizer(file));
  }
  ASSIGN_OR_RETURN(const auto add_bos, file.FindBool("tokenizer.ggml.add_bos_token"));
  ASSIGN_OR_RETURN(const auto add_eos, file.FindBool("tokenizer.ggml.add_eos_token"));
  ASSIGN_OR_RETURN(const auto add_space, file.FindBool("tokenizer.ggml.add_space_prefix"));

  std::vector<TokenId> end_of_generation =
      tokenizer_internal::FindEndOfGeneration(vocabulary, {named.eos, named.eot, named.eom});
  ASSIGN_OR_RETURN(SpecialTokenFinder special_tokens, MakeSpecialTokens(file, vocabulary));
  ASSIGN_OR_RETURN(StringPool pieces, MakePieces(file, vocabulary, kind));
  std::variant<BytePairEncoder, SentencePieceEncoder, WordPieceEncoder> encoder =
      SentencePieceEncoder(vocabulary, named.unknown);
  if (kind == ModelKind::kBytePair) {
    ASSIGN_OR_RETURN(encoder,
                     BytePairEncoder::FromGguf(file, vocabulary, pretokenizer, named.unknown));
  } else if (kind == ModelKind::kWordPiece) {
    ASSIGN_OR_RETURN(encoder, WordPieceEncoder::FromGguf(file, vocabulary, *named.unknown));
  }
  ASSIGN_OR_RETURN(
      const auto fill_in_the_middle,
      tokenizer_internal::FindFillInTheMiddle(
          [&](std::string_view key) { return ReadId(file, vocabulary, key); }, vocabulary));
  const bool is_word_piece = kind == ModelKind::kWordPiece;
  const bool default_bos = kind != ModelKind::kBytePair || pretokenizer.adds_bos;
  return Tokenizer(std::unique_ptr<const Impl>(new Impl{
      .vocabulary = std::move(vocabulary),
      .pieces = std::move(pieces),
      .special_tokens = std::move(special_tokens),
      .encoder = std::move(encoder),
      .bos = named.bos,
      .eos = named.eos,
      .separator = named.separator,
      .end_of_generation = std::move(end_of_generation),
      .fill_in_the_middle = fill_in_the_middle,
      .adds_bos = named.bos.has_value() && add_bos.value_or(default_bos),
      .adds_eos = named.eos.has_value() && add_eos.value_or(is_word_piece),
      .adds_space_prefix =
          is_word_piece || (kind == ModelKind::kSentencePiece && add_space.value_or(true)),
  }));
}

std::vector<TokenId> Tokenizer::Encode(std::string_view text, SpecialTokens special) const {
  std::vector<TokenId> out;
  bool after_special = true;
  for (const Fragment& fragment : impl_->special_tokens.Partition(text, special)) {
    if (fragment.token) {
      out.push_back(*fragment.token);
      after_special = true;
      continue;
    }
    if (const auto* byte_pair = std::get_if<BytePairEncoder>(&impl_->encoder)) {
      byte_pair->Encode(impl_->vocabulary, fragment.text, out);
    } else if (const auto* word_piece = std::get_if<WordPieceEncoder>(&impl_->encoder)) {
      word_piece->Encode(impl_->vocabulary, fragment.text, out);
    } else {
      const auto space = impl_->adds_space_prefix && after_special
                             ? SentencePieceEncoder::Space::kPrefix
                             : SentencePieceEncoder::Space::kNone;
      std::get<SentencePieceEncoder>(impl_->encoder)
          .Encode(impl_->vocabulary, fragment.text, space, out);
    }
    after_special = false;
  }
  return out;
}

std::string_view Tokenizer::TokenBytes(TokenId id, ControlTokens control) const {
  if (!impl_->vocabulary.Contains(id)) return {};
  if (control == ControlTokens::kHide && impl_->IsHidden(id)) return {};
  return impl_->pieces[static_cast<size_t>(id.value)];
}

std::string_view Tokenizer::DecodeNext(TokenId id, DecodeState& state,
                                       ControlTokens control) const {
  std::string_view bytes = TokenBytes(id, control);
  if (!impl_->vocabulary.Contains(id)) return bytes;
  if (impl_->IsSpecial(id)) {
    state.drops_space = true;
    return bytes;
  }
  if (bytes.empty()) return bytes;
  if (state.drops_space && impl_->adds_space_prefix && bytes[0] == ' ') bytes.remove_prefix(1);
  state.drops_space = false;
  return bytes;
}

std::string Tokenizer::Decode(std::span<const TokenId> ids, ControlTokens control) const {
  std::string text;
  DecodeState state;
  for (TokenId id : ids) text += DecodeNext(id, state, control);
  return text;
}

std::string_view Tokenizer::TokenText(TokenId id) const {
  return impl_->vocabulary.Contains(id) ? impl_->vocabulary.text(id.value) : std::string_view();
}

std::optional<TokenId> Tokenizer::FindToken(std::string_view text) const {
  const int32_t id = impl_->vocabulary.Find(text);
  if (id == Vocabulary::kAbsent) return std::nullopt;
  return TokenId(id);
}

int32_t Tokenizer::vocab_size() const { return impl_->vocabulary.size(); }
std::optional<TokenId> Tokenizer::bos() const { return impl_->bos; }
std::optional<TokenId> Tokenizer::eos() const { return impl_->eos; }
std::optional<TokenId> Tokenizer::separator() const { return impl_->separator; }
bool Tokenizer::adds_bos() const { return impl_->adds_bos; }
bool Tokenizer::adds_eos() const { return impl_->adds_eos; }
std::optional<FillInTheMiddle> Tokenizer::fill_in_the_middle() const {
  return impl_->fill_in_the_middle;
}
bool Tokenizer::adds_space_prefix() const { return impl_->adds_space_prefix; }

bool Tokenizer::IsControl(TokenId id) const {
  return impl_->vocabulary.Contains(id) && impl_->vocabulary.type(id.value) == TokenType::kControl;
}

bool Tokenizer::IsEndOfGeneration(TokenId id) const {
  return std::binary_search(impl_->end_of_generation.begin(), impl_->end_of_generation.end(), id);
}

std::span<const TokenId> Tokenizer::end_of_generation() const { return impl_->end_of_generation; }

}  // namespace millrace
