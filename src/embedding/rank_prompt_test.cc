// Decoders that rerank: their prompt, and their score against the model's own logits.
#include "embedding/rank_prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "embedding/embedding_test_util.h"
#include "embedding/vector_model.h"

namespace millrace {
namespace {

using testing::HasSubstr;

constexpr char kAsked[] =
    "<|im_start|>user\n<Query>: {query}\n<Document>: {document}<|im_end|>\n<|im_start|>assistant\n";

// A tiny decoder of 259 tokens, whose tokens 'y' and 'n' stand for yes and no: cls.output.weight
// holds their rows of the (tied) output matrix.
std::vector<std::byte> TinyReranker(const std::string& rank_template,
                                    const std::vector<std::string_view>& labels = {"yes", "no"}) {
  TinyModelSpec spec;
  spec.architecture = "qwen3";
  const std::vector<std::byte> bytes = MakeTinyModel(spec);
  const GgufFile file = ParseGguf(bytes, "tiny.gguf").value();
  GgufWriter writer;
  for (const auto& [key, value] : file.metadata()) writer.AddRaw(key, file.RawValue(key));
  writer.AddU32("qwen3.pooling_type", 4);
  if (!rank_template.empty()) writer.AddString("tokenizer.chat_template.rerank", rank_template);
  if (!labels.empty()) writer.AddStrings("qwen3.classifier.output_labels", labels);
  std::vector<float> rows;
  for (const GgufTensor& t : file.tensors()) {
    writer.AddTensor(t.name, t.type, t.shape, t.data);
    if (t.name != "token_embd.weight") continue;
    for (const char token : {'y', 'n'}) {
      std::vector<float> row(static_cast<size_t>(spec.width));
      std::memcpy(row.data(), t.data.data() + static_cast<size_t>(token) * row.size() * 4,
                  row.size() * 4);
      rows.insert(rows.end(), row.begin(), row.end());
    }
  }
  const std::vector<int64_t> shape = {spec.width, 2};
  writer.AddTensor("cls.output.weight", DType::kF32, shape,
                   std::as_bytes(std::span<const float>(rows)));
  return writer.Serialize();
}

std::string ErrorOf(const std::vector<std::byte>& bytes) {
  const GgufFile file = ParseGguf(bytes, "tiny.gguf").value();
  ThreadPool pool(1);
  const auto model = EmbeddingModel::Load(file, {}, pool);
  return model.ok() ? "" : model.error().message;
}

TEST(RankPrompt, ControlTokensAreTheTemplatesAlone) {
  const TestModel m = LoadTestBytes(TinyReranker(kAsked));
  const Tokenizer& tokenizer = m.model->tokenizer();
  const std::string query = "is it <|im_end|>?", document = "a <|im_start|> document";
  const EmbeddingText text = m.model->EncodePair(query, document);
  std::vector<TokenId> expected = tokenizer.Encode("<|im_start|>", SpecialTokens::kParse);
  const auto add = [&](const std::string& part, SpecialTokens special) {
    const auto more = tokenizer.Encode(part, special);
    expected.insert(expected.end(), more.begin(), more.end());
    return std::ssize(more);
  };
  add("user\n<Query>: " + query + "\n<Document>: " + document, SpecialTokens::kAsText);
  const auto tail = add("<|im_end|>\n<|im_start|>assistant\n", SpecialTokens::kParse);
  EXPECT_EQ(Numbers(text.tokens), Numbers(expected));
  EXPECT_EQ(text.tail, tail);
}

// The difference of the logits of 'y' and 'n' behind the prompt.
TEST(RankPrompt, TheScoreIsHowMuchLikelierYesIsThanNo) {
  const std::vector<std::byte> bytes = TinyReranker(kAsked);
  const TestModel m = LoadTestBytes(bytes);
  const TestModel swapped = LoadTestBytes(TinyReranker(kAsked, {"no", "yes"}));
  const TestModel unlabelled = LoadTestBytes(TinyReranker(kAsked, {}));
  EXPECT_TRUE(m.model->ranks());
  const GgufFile file = ParseGguf(bytes, "tiny.gguf").value();
  ThreadPool pool(1);
  TransformerOptions options;
  options.isa = DetectIsa();
  options.max_positions = 256;
  const auto logits_model = std::move(Transformer::Load(file, options, pool)).value();
  auto kv = KvStore::Create(logits_model->info().kv_shape, KvType::kF32, 8).value();
  std::vector<double> scores;
  for (const char* document : {"a mill", "water, and a wheel"}) {
    const EmbeddingText text = m.model->EncodePair("mill?", document);
    std::vector<BlockId> table;
    for (int32_t b = 0; b < BlocksFor(static_cast<int32_t>(text.tokens.size())); ++b)
      table.push_back(BlockId(b));
    const auto logits = logits_model->Forward({{{text.tokens, 0, table, 1}}}, kv);
    const double expected = double{logits.row(0)['y']} - logits.row(0)['n'];
    EXPECT_NEAR(ComputeOne(*m.model, text)[0], expected, 1e-4);
    EXPECT_NEAR(ComputeOne(*swapped.model, text)[0], -expected, 1e-4);
    EXPECT_NEAR(ComputeOne(*unlabelled.model, text)[0], expected, 1e-4);
    scores.push_back(expected);
  }
  EXPECT_GT(std::abs(scores[0] - scores[1]), 1e-3);
}

TEST(RankPrompt, ALongDocumentIsCutBeforeTheTemplatesEnd) {
  const TestModel m = LoadTestBytes(TinyReranker(kAsked));
  const EmbeddingText whole = m.model->EncodePair("mill?", std::string(9000, 'x'));
  const EmbeddingText cut = CutToFit(*m.model, whole);
  ASSERT_EQ(std::ssize(cut.tokens), m.model->max_tokens());
  EXPECT_TRUE(m.model->Check(cut).ok());
  for (int64_t i = 1; i <= cut.tail; ++i)
    EXPECT_EQ(cut.tokens.end()[-i].value, whole.tokens.end()[-i].value);
  EXPECT_EQ(cut.tokens.end()[-cut.tail - 1].value, whole.tokens.end()[-cut.tail - 1].value);
}

TEST(RankPrompt, WhatTheFileLacksIsSaid) {
  EXPECT_THAT(ErrorOf(TinyReranker("")), HasSubstr("'tokenizer.chat_template.rerank'"));
  EXPECT_THAT(ErrorOf(TinyReranker("{document} {query}")), HasSubstr("{query} before {document}"));
  EXPECT_THAT(ErrorOf(TinyReranker(kAsked, {"a", "b"})), HasSubstr("output_labels"));
  EXPECT_THAT(ErrorOf(TinyReranker(kAsked, {"yes"})), HasSubstr("output_labels"));
  EXPECT_THAT(ErrorOf(Without(TinyReranker(kAsked), {"cls.output.weight"})),
              HasSubstr("'cls.output.weight' with two rows"));
}

}  // namespace
}  // namespace millrace
