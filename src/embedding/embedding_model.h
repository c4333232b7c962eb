// EmbeddingModel: texts -> vectors of length 1, or pairs of texts -> scores, a batch at a time.
//
// Invariant (bit-exactness): the numbers of a text depend on its tokens alone, not on the rest of
// the batch or the number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "embedding/pooled_row.h"
#include "embedding/rank_prompt.h"
#include "model/encoder.h"
#include "model/transformer.h"
#include "paged_kv/kv_store.h"
#include "simd/isa.h"
#include "tokenizer/tokenizer.h"

namespace millrace {

class GgufFile;

struct EmbeddingOptions {
  Isa isa = Isa::kScalar;
  int32_t max_tokens = 8192;       // of a text, unless the model was made for fewer
  KvType kv_type = KvType::kBf16;  // of decoders
  std::optional<Pooling> pooling;  // instead of the file's
  WeightOptions weights;
};

// What the model reads: a text, or two with a separator between them.
struct EmbeddingText {
  std::vector<TokenId> tokens;
  int64_t second_text = INT64_MAX;  // where the second begins
  int64_t tail = 1;                 // tokens at the end that stay where a text is cut
};

class EmbeddingModel {
 public:
  // An encoder, or a decoder (whose pooling is the last row where the file does not say). With
  // pooling "rank" a reranker: an encoder with a classifier of one output, or a decoder with the
  // rows of "yes" and "no" and a template "rerank" (rank_prompt.h). `pool` must outlive the model;
  // the file need not, except as WeightOptions says. Errors: those of the model, and an unsupported
  // pooling.
  static Result<std::unique_ptr<EmbeddingModel>> Load(const GgufFile& file,
                                                      const EmbeddingOptions& options,
                                                      ThreadPool& pool);

  bool ranks() const { return head_.has_value(); }
  int32_t width() const { return width_; }                    // E
  int32_t outputs() const { return ranks() ? 1 : width_; }    // numbers per text
  int32_t max_tokens() const { return max_tokens_; }          // of one text
  int32_t max_batch_tokens() const { return batch_tokens_; }  // of one Compute; >= max_tokens()
  int32_t max_batch_texts() const { return batch_texts_; }
  int32_t vocab_size() const { return vocab_size_; }
  Pooling pooling() const { return pooling_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }

  // With the tokens that the model expects around a text ([CLS] and [SEP]; beginning and end of
  // text where the file says so). Special tokens in `text` are plain characters. May be longer
  // than max_tokens(). Any thread, at any time; likewise EncodePair.
  EmbeddingText Encode(std::string_view text) const;
  // [CLS] first [SEP] second [SEP]; of a decoder that reranks its template with both.
  EmbeddingText EncodePair(std::string_view first, std::string_view second) const;

  // Nothing, or why `text` cannot be computed: empty, too long (kTooLarge, says the limit), or a
  // token outside the vocabulary.
  Status Check(const EmbeddingText& text) const;

  // The texts, each of which Check allows, together within the limits of a batch (CHECK).
  // out: [texts, outputs()]: vectors of length 1, or scores (any real number, higher is better).
  // One call at a time.
  void Compute(std::span<const EmbeddingText* const> texts, std::span<float> out);

 private:
  struct Decoder {
    std::unique_ptr<Transformer> model;
    KvStore kv;
  };
  EmbeddingModel(Tokenizer tokenizer, Pooling pooling)
      : tokenizer_(std::move(tokenizer)), pooling_(pooling) {}
  Status LoadEncoder(const GgufFile& file, const EmbeddingOptions& options, ThreadPool& pool);
  Status LoadDecoder(const GgufFile& file, const EmbeddingOptions& options, ThreadPool& pool);
  // One piece of hidden state per text: all its rows, or of a decoder with kLast or kRank the last.
  MatrixView<const float> HiddenRows(std::span<const EmbeddingText* const> texts);
  int64_t RowsOf(const EmbeddingText& text) const;

  Tokenizer tokenizer_;
  Pooling pooling_;
  std::unique_ptr<Encoder> encoder_;  // this or the next
  std::optional<Decoder> decoder_;
  std::optional<embedding_internal::RankHead> head_;
  std::optional<embedding_internal::RankPrompt> rank_prompt_;  // of a decoder that reranks
  int32_t width_ = 0;
  int32_t vocab_size_ = 0;
  int32_t max_tokens_ = 0;
  int32_t batch_tokens_ = 0;
  int32_t batch_texts_ = 0;
};

}  // namespace millrace
