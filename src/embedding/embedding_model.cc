#include "embedding/embedding_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "gguf/gguf.h"

namespace millrace {
namespace {

// Enough rows for the products to be limited by arithmetic, few enough that a small request does
// not wait long behind a large one.
constexpr int32_t kBatchTokens = 1024;
constexpr int32_t kBatchTexts = 64;

void AppendTo(std::vector<TokenId>& tokens, const std::vector<TokenId>& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
}

}  // namespace

Result<std::unique_ptr<EmbeddingModel>> EmbeddingModel::Load(const GgufFile& file,
                                                             const EmbeddingOptions& options,
                                                             ThreadPool& pool) {
  ASSIGN_OR_RETURN(const std::string_view architecture, file.RequireString("general.architecture"));
  ASSIGN_OR_RETURN(const auto declared, ReadPooling(file, std::string(architecture)));
  ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::FromGguf(file));
  const bool is_encoder = IsEncoder(file);
  const Pooling usual = is_encoder ? Pooling::kMean : Pooling::kLast;
  std::unique_ptr<EmbeddingModel> model(
      new EmbeddingModel(std::move(tokenizer), options.pooling.value_or(declared.value_or(usual))));
  RETURN_IF_ERROR(is_encoder ? model->LoadEncoder(file, options, pool)
                             : model->LoadDecoder(file, options, pool));
  using embedding_internal::RankHead;
  using embedding_internal::RankPrompt;
  if (model->pooling_ == Pooling::kRank && is_encoder) {
    ASSIGN_OR_RETURN(model->head_, RankHead::Load(file, model->width_, pool));
  } else if (model->pooling_ == Pooling::kRank) {
    ASSIGN_OR_RETURN(model->head_, RankHead::LoadYesNo(file, architecture, model->width_, pool));
    ASSIGN_OR_RETURN(model->rank_prompt_, RankPrompt::Load(file, model->tokenizer_));
  }
  if (model->tokenizer_.vocab_size() > model->vocab_size_) {
    return Error{fmt::format("{}: the tokenizer has {} tokens, but the embedding holds {}.",
                             file.name(), model->tokenizer_.vocab_size(), model->vocab_size_)};
  }
  return model;
}

Status EmbeddingModel::LoadEncoder(const GgufFile& file, const EmbeddingOptions& options,
                                   ThreadPool& pool) {
  EncoderOptions encoder;
  encoder.isa = options.isa;
  encoder.max_rows = kBatchTokens;
  encoder.max_texts = kBatchTexts;
  encoder.weights = options.weights;
  ASSIGN_OR_RETURN(encoder_, Encoder::Load(file, encoder, pool));
  const TransformerConfig& config = encoder_->config().common;
  width_ = config.width;
  vocab_size_ = config.vocab_size;
  max_tokens_ = std::min(options.max_tokens, config.context_length);
  batch_tokens_ = encoder_->max_rows();
  batch_texts_ = encoder_->max_texts();
  return {};
}

Status EmbeddingModel::LoadDecoder(const GgufFile& file, const EmbeddingOptions& options,
                                   ThreadPool& pool) {
  ASSIGN_OR_RETURN(const TransformerConfig config, ReadTransformerConfig(file));
  width_ = config.width;
  vocab_size_ = config.vocab_size;
  max_tokens_ = std::min(options.max_tokens, config.context_length);
  batch_tokens_ = std::max(kBatchTokens, max_tokens_);
  batch_texts_ = kBatchTexts;
  TransformerOptions transformer;
  transformer.isa = options.isa;
  transformer.max_positions = max_tokens_;
  transformer.weights = options.weights;
  ASSIGN_OR_RETURN(auto model, Transformer::Load(file, transformer, pool));
  // Committed as it is touched: a model that only ever sees short texts takes little.
  ASSIGN_OR_RETURN(KvStore kv, KvStore::Create(model->info().kv_shape, options.kv_type,
                                               BlocksFor(batch_tokens_) + batch_texts_));
  decoder_.emplace(Decoder{std::move(model), std::move(kv)});
  return {};
}

EmbeddingText EmbeddingModel::Encode(std::string_view text) const {
  EmbeddingText out;
  if (tokenizer_.adds_bos() && tokenizer_.bos()) out.tokens.push_back(*tokenizer_.bos());
  AppendTo(out.tokens, tokenizer_.Encode(text, SpecialTokens::kAsText));
  if (tokenizer_.adds_eos() && tokenizer_.eos()) out.tokens.push_back(*tokenizer_.eos());
  return out;
}

EmbeddingText EmbeddingModel::EncodePair(std::string_view first, std::string_view second) const {
  EmbeddingText out;
  if (rank_prompt_) {
    auto prompt = rank_prompt_->Encode(tokenizer_, first, second);
    out.tokens = std::move(prompt.tokens);
    out.tail = prompt.tail;
    return out;
  }
  out = Encode(first);
  out.second_text = static_cast<int64_t>(out.tokens.size());
  AppendTo(out.tokens, tokenizer_.Encode(second, SpecialTokens::kAsText));
  if (tokenizer_.separator()) out.tokens.push_back(*tokenizer_.separator());
  return out;
}

Status EmbeddingModel::Check(const EmbeddingText& text) const {
  if (text.tokens.empty()) return Error{"is empty: give it at least one token"};
  if (text.tokens.size() > static_cast<size_t>(max_tokens_)) {
    return Error{fmt::format("has {} tokens, but the model reads at most {}: make it shorter",
                             text.tokens.size(), max_tokens_),
                 ErrorKind::kTooLarge};
  }
  for (const TokenId token : text.tokens) {
    if (token.value >= 0 && token.value < vocab_size_) continue;
    return Error{
        fmt::format("has token {}, outside the vocabulary of {}", token.value, vocab_size_)};
  }
  return {};
}

// What HiddenRows gives of a text.
int64_t EmbeddingModel::RowsOf(const EmbeddingText& text) const {
  if (decoder_ && pooling_ != Pooling::kMean && pooling_ != Pooling::kCls) return 1;
  return static_cast<int64_t>(text.tokens.size());
}

void EmbeddingModel::Compute(std::span<const EmbeddingText* const> texts, std::span<float> out) {
  const auto n = static_cast<size_t>(outputs());
  CHECK(out.size() == texts.size() * n);
  const MatrixView<const float> hidden = HiddenRows(texts);
  std::vector<float> pooled(static_cast<size_t>(width_));
  int64_t row = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const int64_t rows = RowsOf(*texts[i]);
    embedding_internal::PoolRows(pooling_, hidden.Rows(row, rows), pooled);
    row += rows;
    if (head_) {
      out[i] = head_->Score(pooled);
      continue;
    }
    embedding_internal::Normalise(pooled);
    std::copy(pooled.begin(), pooled.end(), out.begin() + static_cast<int64_t>(i * n));
  }
}

MatrixView<const float> EmbeddingModel::HiddenRows(std::span<const EmbeddingText* const> texts) {
  if (encoder_) {
    std::vector<EncoderInput> inputs;
    for (const EmbeddingText* text : texts) inputs.push_back({text->tokens, text->second_text});
    return encoder_->Forward(inputs);
  }
  CHECK(texts.size() <= static_cast<size_t>(batch_texts_));
  std::vector<std::vector<BlockId>> tables(texts.size());
  Batch batch;
  int32_t next_block = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto count = static_cast<int32_t>(texts[i]->tokens.size());
    for (int32_t b = 0; b < BlocksFor(count); ++b) tables[i].push_back(BlockId(next_block++));
    batch.sequences.push_back(
        {texts[i]->tokens, 0, tables[i], static_cast<int32_t>(RowsOf(*texts[i]))});
  }
  CHECK(next_block <= decoder_->kv.blocks());
  return decoder_->model->Hidden(batch, decoder_->kv);
}

}  // namespace millrace
