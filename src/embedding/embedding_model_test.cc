// Vectors and scores against a float64 reference of the same tiny model.
#include "embedding/embedding_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "embedding/embedding_test_util.h"
#include "gguf/gguf.h"
#include "gguf/writer.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A hidden row is right to this part of its norm: encoder_test.cc. Pooling and normalising are done
// in double and rounded once.
constexpr double kVectorError = 64 * 2 * 9.8 * 0x1p-24 + 0x1p-23;

std::vector<double> ReferenceVector(const TestModel& m, const TinyEncoderSpec& spec,
                                    const EmbeddingText& text) {
  const auto hidden = ReferenceHidden(*m.file, spec, Numbers(text.tokens));
  std::vector<double> pooled(hidden[0].size(), 0.0);
  for (size_t i = 0; i < hidden.size(); ++i) {
    const bool is_taken = spec.pooling == 1 || (spec.pooling == 2 && i == 0) ||
                          (spec.pooling == 3 && i + 1 == hidden.size());
    for (size_t j = 0; j < pooled.size() && is_taken; ++j) pooled[j] += hidden[i][j];
  }
  double norm = 0;
  for (double x : pooled) norm += x * x;
  for (double& x : pooled) x /= std::sqrt(norm);
  return pooled;
}

TEST(EmbeddingModel, PutsTheTokensAroundATextThatTheModelExpects) {
  const TestModel m = LoadTestModel({});
  // a: 4; b within a word: 31; "," 57 is a word; c: 6.
  EXPECT_THAT(Numbers(m.model->Encode("Ab, c").tokens), ElementsAre(2, 4, 31, 57, 6, 3));
  EXPECT_THAT(Numbers(m.model->Encode("").tokens), ElementsAre(2, 3));
  const EmbeddingText pair = m.model->EncodePair("ab", "c.");
  EXPECT_THAT(Numbers(pair.tokens), ElementsAre(2, 4, 31, 3, 6, 56, 3));
  EXPECT_EQ(pair.second_text, 4);
  EXPECT_THAT(Numbers(m.model->Encode("[SEP]").tokens), ElementsAre(2, 1, 22, 34, 45, 1, 3));
}

TEST(EmbeddingModel, VectorsAgreeWithFloat64ForEveryPooling) {
  for (const char* architecture : {"bert", "nomic-bert"}) {
    for (int32_t pooling : {1, 2, 3}) {
      TinyEncoderSpec spec;
      spec.architecture = architecture;
      spec.pooling = pooling;
      const TestModel m = LoadTestModel(spec);
      for (const char* words : {"a", "the mill race", "one, two. three words and some more"}) {
        const EmbeddingText text = m.model->Encode(words);
        const std::vector<float> got = ComputeOne(*m.model, text);
        const std::vector<double> expected = ReferenceVector(m, spec, text);
        ASSERT_EQ(got.size(), expected.size());
        double error = 0, norm = 0;
        for (size_t i = 0; i < got.size(); ++i) {
          error += (got[i] - expected[i]) * (got[i] - expected[i]);
          norm += double{got[i]} * got[i];
        }
        EXPECT_LT(std::sqrt(error), kVectorError) << architecture << " " << pooling << " " << words;
        EXPECT_NEAR(norm, 1.0, 1e-6);
      }
    }
  }
}

TEST(EmbeddingModel, ScoresAgreeWithFloat64) {
  TinyEncoderSpec spec;
  spec.pooling = 4;
  spec.classifier = true;
  const TestModel m = LoadTestModel(spec);
  ASSERT_TRUE(m.model->ranks());
  EXPECT_EQ(m.model->outputs(), 1);
  std::vector<double> scores;
  for (const char* document : {"a mill", "water", "some other text, of more words."}) {
    const EmbeddingText pair = m.model->EncodePair("what is a mill", document);
    const std::vector<float> got = ComputeOne(*m.model, pair);
    const auto hidden =
        ReferenceHidden(*m.file, spec, Numbers(pair.tokens), static_cast<size_t>(pair.second_text));
    const double expected = ReferenceScore(*m.file, hidden);
    // The head's weights are of size 0.5 over 64 inputs, whose own error is that of the row (norm
    // 8) through weights of size 0.15.
    EXPECT_NEAR(got[0], expected, kVectorError * 8 * (1 + 0.15 * 8) * 0.5 * 8);
    scores.push_back(expected);
  }
  EXPECT_GT(std::abs(scores[0] - scores[1]), 1e-2);  // so that the comparison above says something
}

TEST(EmbeddingModel, ARerankerWithoutPoolerUsesTheRowItself) {
  TinyEncoderSpec spec;
  spec.pooling = 4;
  spec.classifier = true;
  const std::vector<std::byte> bytes =
      Without(MakeTinyEncoder(spec), {"cls.weight", "cls.bias", "cls.output.bias"});
  const TestModel m = LoadTestBytes(bytes);
  const EmbeddingText pair = m.model->EncodePair("a", "b");
  const auto hidden =
      ReferenceHidden(*m.file, spec, Numbers(pair.tokens), static_cast<size_t>(pair.second_text));
  std::vector<float> weight(64);
  std::memcpy(weight.data(), m.file->FindTensor("cls.output.weight")->data.data(), 256);
  double expected = 0;
  for (size_t i = 0; i < 64; ++i) expected += weight[i] * hidden[0][i];
  EXPECT_NEAR(ComputeOne(*m.model, pair)[0], expected, kVectorError * 8 * 0.5 * 8);
}

TEST(EmbeddingModel, TheBatchAndTheThreadsDoNotMatter) {
  for (const char* architecture : {"bert", "nomic-bert"}) {
    TinyEncoderSpec spec;
    spec.architecture = architecture;
    spec.type = DType::kQ8_0;
    const TestModel one = LoadTestModel(spec, 1), three = LoadTestModel(spec, 3);
    ExpectBatchesAgree(*one.model, *three.model);
  }
}

// Decoders: the row that the logits come from, here through the logits themselves: with an output
// matrix that is the unit matrix they are the hidden state.
TEST(EmbeddingModel, DecodersPoolTheLastRowOrTheMean) {
  for (const char* architecture : {"llama", "qwen2", "qwen3", "gemma3"}) {
    const std::vector<std::byte> bytes = TinyDecoderWithUnitOutput(architecture);
    const GgufFile file = ParseGguf(bytes, "tiny.gguf").value();
    ThreadPool pool(1);
    TransformerOptions options;
    options.isa = DetectIsa();
    options.max_positions = 128;
    const auto logits_model = std::move(Transformer::Load(file, options, pool)).value();
    auto kv = KvStore::Create(logits_model->info().kv_shape, KvType::kF32, 4).value();
    for (const Pooling pooling : {Pooling::kLast, Pooling::kMean}) {
      const TestModel m = LoadTestBytes(bytes, 2, pooling);
      const EmbeddingText text =
          m.model->Encode("a text of some fifty bytes, for two blocks of keys");
      const auto count = static_cast<int32_t>(text.tokens.size());
      const std::vector<BlockId> table = {BlockId(0), BlockId(1)};
      const auto logits = logits_model->Forward({{{text.tokens, 0, table, count}}}, kv);
      std::vector<double> expected(static_cast<size_t>(m.model->width()), 0.0);
      for (int64_t i = pooling == Pooling::kLast ? count - 1 : 0; i < count; ++i) {
        for (size_t j = 0; j < expected.size(); ++j) expected[j] += logits.row(i)[j];
      }
      double norm = 0;
      for (double x : expected) norm += x * x;
      const std::vector<float> got = ComputeOne(*m.model, text);
      for (size_t j = 0; j < expected.size(); ++j)
        EXPECT_NEAR(got[j], expected[j] / std::sqrt(norm), 1e-6) << architecture << " " << j;
    }
    const TestModel one = LoadTestBytes(bytes, 1), three = LoadTestBytes(bytes, 3);
    EXPECT_EQ(one.model->pooling(), Pooling::kLast);
    ExpectBatchesAgree(*one.model, *three.model);
  }
}

TEST(EmbeddingModel, LongTextsAndForeignTokensAreRefusedWithTheLimit) {
  const TestModel m = LoadTestModel({});
  EmbeddingText text;
  EXPECT_THAT(m.model->Check(text).error().message, HasSubstr("empty"));
  text.tokens.assign(128, TokenId(4));
  EXPECT_TRUE(m.model->Check(text).ok());
  text.tokens.push_back(TokenId(4));
  EXPECT_EQ(m.model->Check(text).error().kind, ErrorKind::kTooLarge);
  EXPECT_THAT(m.model->Check(text).error().message, HasSubstr("129 tokens"));
  EXPECT_THAT(m.model->Check(text).error().message, HasSubstr("at most 128"));
  text.tokens = {TokenId(58)};
  EXPECT_THAT(m.model->Check(text).error().message, HasSubstr("outside the vocabulary of 58"));
  text.tokens = {TokenId(-1)};
  EXPECT_FALSE(m.model->Check(text).ok());
}

std::string LoadTestError(const std::vector<std::byte>& bytes) {
  const GgufFile file = ParseGguf(bytes, "tiny.gguf").value();
  ThreadPool pool(1);
  auto model = EmbeddingModel::Load(file, {}, pool);
  return model.ok() ? "" : model.error().message;
}

TEST(EmbeddingModel, ModelsThatCannotServeAreSentences) {
  TinyEncoderSpec rank;
  rank.pooling = 4;
  EXPECT_THAT(LoadTestError(MakeTinyEncoder(rank)), HasSubstr("'cls.output.weight' is missing"));
  EXPECT_THAT(LoadTestError(Without(MakeTinyEncoder({}), {"tokenizer.ggml.tokens"})),
              HasSubstr("tokenizer.ggml.tokens"));
  EXPECT_THAT(LoadTestError(Without(MakeTinyEncoder({}), {"general.architecture"})),
              HasSubstr("general.architecture"));
}

}  // namespace
}  // namespace millrace
