// Adapters against the model that has them merged into its weights, in double precision; what a
// file may not say.
#include "model/lora_adapter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "gguf/writer.h"
#include "model/transformer.h"
#include "tests/tiny_adapter.h"
#include "tests/tiny_model.h"

namespace millrace {
namespace {

struct LoraCase {
  std::string name;
  std::string architecture;
  TinyAdapterSpec adapter;
  float scale = 1.0f;
  bool tied = true;
};

std::vector<std::byte> ModelBytes(const std::string& architecture, bool tied = true,
                                  DType type = DType::kF32) {
  TinyModelSpec spec;
  spec.architecture = architecture;
  spec.tied = tied;
  spec.type = type;
  spec.ff_width = 256;
  return MakeTinyModel(spec);
}

GgufFile Parsed(const std::vector<std::byte>& bytes, const std::string& name = "adapter.gguf") {
  auto file = ParseGguf(bytes, name);
  CHECK(file.ok());
  return *std::move(file);
}

// Logits of a prompt of 70 tokens, in one sequence.
class Logits {
 public:
  explicit Logits(const std::vector<std::byte>& model, Isa isa = DetectIsa()) : pool_(2) {
    TransformerOptions options;
    options.isa = isa;
    options.max_positions = 96;
    auto loaded = Transformer::Load(Parsed(model, "model.gguf"), options, pool_);
    CHECK(loaded.ok());
    model_ = *std::move(loaded);
    auto kv = KvStore::Create(model_->info().kv_shape, KvType::kF32, 3);
    CHECK(kv.ok());
    kv_ = std::make_unique<KvStore>(*std::move(kv));
    for (int32_t i = 0; i < 70; ++i) tokens_.push_back(TokenId((i * i * 7 + 3 * i) % 250));
  }
  Transformer& model() { return *model_; }
  Status Add(const std::vector<std::byte>& adapter, float scale = 1.0f) {
    return model_->AddAdapter({"any", "any"}, Parsed(adapter), scale);
  }
  std::vector<float> Under(std::optional<AdapterId> adapter) {
    const std::vector<BlockId> table = {BlockId(2), BlockId(0), BlockId(1)};
    const MatrixView<const float> logits = model_->Forward(
        {{{.tokens = tokens_, .block_table = table, .logit_rows = 70, .adapter = adapter}}}, *kv_);
    return {logits.data, logits.data + logits.rows * logits.columns};
  }

 private:
  ThreadPool pool_;
  std::unique_ptr<Transformer> model_;
  std::unique_ptr<KvStore> kv_;
  std::vector<TokenId> tokens_;
};

// |a - b| / |b|, as vectors.
double RelativeError(const std::vector<float>& a, const std::vector<float>& b) {
  CHECK(a.size() == b.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - b[i];
    difference += d * d;
    norm += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / norm);
}

class LoraMerge : public testing::TestWithParam<std::tuple<LoraCase, Isa>> {};

// Rounding: each sum of K = 256 products, in another order than the merged one's, is off by about
// sqrt(K) 2^-24 = 1e-6 of its size, and the logits stand behind nine such products in a row (two
// layers of Q/K/V, output, gate/up, down; the logits' own), of which norms and residuals keep the
// relative size: 9e-6.
TEST_P(LoraMerge, LogitsAreThoseOfTheMergedModel) {
  const auto& [c, isa] = GetParam();
  const std::vector<std::byte> model = ModelBytes(c.architecture, c.tied);
  const std::vector<std::byte> adapter = MakeTinyAdapter(Parsed(model), c.adapter);
  Logits adapted(model, isa);
  const std::vector<float> base = adapted.Under(std::nullopt);
  const Status added = adapted.Add(adapter, c.scale);
  ASSERT_TRUE(added.ok()) << added.error().message;
  const std::vector<float> under = adapted.Under(AdapterId(0));
  Logits merged(MergeAdapter(Parsed(model), Parsed(adapter), c.scale), isa);
  const std::vector<float> expected = merged.Under(std::nullopt);
  EXPECT_GT(RelativeError(base, expected), 0.02) << "the adapter should matter";
  EXPECT_LT(RelativeError(under, expected), 9e-6);
  EXPECT_EQ(adapted.Under(std::nullopt), base) << "the base model should stay as it was";
}

std::vector<LoraCase> LoraCases() {
  std::vector<LoraCase> cases;
  for (const char* architecture : {"llama", "qwen2", "qwen3", "gemma3"})
    cases.push_back({architecture, architecture, {}});
  cases.push_back({"rank_1", "llama", {.rank = 1, .alpha = 1}});
  cases.push_back({"rank_17", "llama", {.rank = 17, .alpha = 17}});
  cases.push_back({"rank_300", "llama", {.rank = 300, .alpha = 30}});  // more than the width
  cases.push_back({"no_alpha", "llama", {.alpha = 0}, 0.7f});
  cases.push_back({"scaled", "qwen2", {}, -1.5f});
  cases.push_back({"f16", "llama", {.rank = 8, .type = DType::kF16}});
  cases.push_back({"bf16", "llama", {.rank = 8, .type = DType::kBF16}});
  cases.push_back({"q8_0", "llama", {.rank = 32, .alpha = 32, .type = DType::kQ8_0}});
  for (const char* one :
       {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}) {
    cases.push_back(
        {one, "qwen3", {.rank = 8, .alpha = 24, .only = {std::string(one) + ".weight"}}});
  }
  // Another output matrix, so that the embedding's adapter changes the embedding alone.
  cases.push_back({"embedding", "gemma3", {.only = {"token_embd"}}, 4.0f, false});
  cases.push_back({"output", "llama", {.only = {"output.weight"}}, 1.0f, false});
  return cases;
}

std::vector<Isa> BestAndScalar() {
  return DetectIsa() == Isa::kScalar ? std::vector{Isa::kScalar}
                                     : std::vector{Isa::kScalar, DetectIsa()};
}

INSTANTIATE_TEST_SUITE_P(Cases, LoraMerge,
                         testing::Combine(testing::ValuesIn(LoraCases()),
                                          testing::ValuesIn(BestAndScalar())),
                         [](const auto& param) {
                           return std::get<0>(param.param).name + "_" +
                                  std::string(NameOf(std::get<1>(param.param)));
                         });

TEST(LoraAdapter, OneTokensEmbeddingOfATiedModel) {
  // The output matrix stays: only what the layers see changes.
  const std::vector<std::byte> model = ModelBytes("llama");
  const std::vector<std::byte> adapter = MakeTinyAdapter(Parsed(model), {.only = {"token_embd"}});
  Logits logits(model);
  const std::vector<float> base = logits.Under(std::nullopt);
  ASSERT_TRUE(logits.Add(adapter, 4.0f).ok());
  EXPECT_NE(logits.Under(AdapterId(0)), base);
  EXPECT_EQ(logits.Under(std::nullopt), base);
}

TEST(LoraAdapter, IntegerWeightsAndSeveralAdapters) {
  const std::vector<std::byte> model = ModelBytes("llama", true, DType::kQ4_K);
  Logits logits(model);
  const std::vector<float> base = logits.Under(std::nullopt);
  ASSERT_TRUE(logits.Add(MakeTinyAdapter(Parsed(model), {})).ok());
  ASSERT_TRUE(logits.Add(MakeTinyAdapter(Parsed(model), {.rank = 16, .seed = 2})).ok());
  ASSERT_TRUE(logits.Add(MakeTinyAdapter(Parsed(model), {}), 0.0f).ok());
  const auto& infos = logits.model().info().adapters;
  ASSERT_EQ(infos.size(), 3u);
  EXPECT_EQ(infos[0].rank, 4);
  EXPECT_EQ(infos[1].rank, 16);
  EXPECT_GT(infos[0].bytes, 0);
  EXPECT_NE(logits.Under(AdapterId(0)), base);
  EXPECT_NE(logits.Under(AdapterId(1)), logits.Under(AdapterId(0)));
  EXPECT_EQ(logits.Under(AdapterId(2)), base) << "scale 0 adds zeros";
}

// What a file may not say, each in one sentence that names it.
class LoraRefusal : public testing::Test {
 protected:
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    DType type = DType::kF32;
  };
  static std::vector<Tensor> Pair(const std::string& name, int64_t columns, int64_t rows,
                                  int64_t rank) {
    return {{name + ".lora_a", {columns, rank}}, {name + ".lora_b", {rank, rows}}};
  }
  std::string Refusal(const std::vector<std::pair<std::string, std::string>>& texts,
                      const std::vector<Tensor>& tensors, float scale = 1.0f) {
    GgufWriter writer;
    for (const auto& [key, value] : texts) writer.AddString(key, value);
    std::vector<std::byte> zeros(1 << 20);
    for (const Tensor& t : tensors) {
      int64_t rows = 1;
      for (size_t i = 1; i < t.shape.size(); ++i) rows *= t.shape[i];
      const int64_t bytes = RowBytes(t.type, t.shape[0]) * rows;
      writer.AddTensor(t.name, t.type, t.shape, std::span(zeros).first(static_cast<size_t>(bytes)));
    }
    return RefusalOf(writer.Serialize(), scale);
  }
  std::string RefusalOf(const std::vector<std::byte>& bytes, float scale = 1.0f) {
    const auto file = ParseGguf(bytes, "a.gguf");
    if (!file.ok()) return file.error().message;
    Logits logits(ModelBytes("llama"));
    const Status added = logits.model().AddAdapter({"a", "a"}, *file, scale);
    EXPECT_TRUE(added.ok() || logits.model().info().adapters.empty());
    return added.ok() ? "" : added.error().message;
  }
  const std::vector<std::pair<std::string, std::string>> good_ = {
      {"general.type", "adapter"}, {"adapter.type", "lora"}, {"general.architecture", "llama"}};
};

TEST_F(LoraRefusal, TheHeadMustBeALoraAdaptersForThisArchitecture) {
  const auto pair = Pair("blk.0.attn_q.weight", 256, 256, 4);
  EXPECT_EQ(Refusal(good_, pair), "");
  const auto with = [this](const std::string& key, const std::string& value) {
    auto texts = good_;
    for (auto& [k, v] : texts) {
      if (k == key) v = value;
    }
    return texts;
  };
  EXPECT_EQ(Refusal(with("general.type", "model"), pair),
            "a.gguf: 'general.type' is not 'adapter': give a LoRA adapter in GGUF, as llama.cpp's "
            "convert_lora_to_gguf.py writes it");
  EXPECT_EQ(Refusal(with("adapter.type", "control"), pair),
            "a.gguf: an adapter of type 'control' is not supported; known is lora");
  EXPECT_EQ(Refusal(with("general.architecture", "gemma3"), pair),
            "a.gguf: the adapter is for a model of architecture 'gemma3', but the base model is "
            "'llama'");
  auto activated = good_;
  activated.push_back({"adapter.alora.invocation_tokens", "1"});
  EXPECT_NE(Refusal(activated, pair).find("adapters that tokens activate"), std::string::npos);
  auto text = good_;
  text.push_back({"adapter.lora.alpha", "sixteen"});
  EXPECT_NE(Refusal(text, pair).find("adapter.lora.alpha"), std::string::npos);
  EXPECT_NE(Refusal({}, pair).find("general.type"), std::string::npos);
  EXPECT_NE(Refusal({good_[0], good_[2]}, pair).find("adapter.type"), std::string::npos);
  EXPECT_EQ(Refusal(good_, pair, NAN), "a.gguf: the adapter's scale is not a number");
  EXPECT_NE(RefusalOf(ModelBytes("llama")).find("'general.type' is not 'adapter'"),
            std::string::npos);
}

TEST_F(LoraRefusal, EveryTensorMustBeHalfOfAPairThatFits) {
  const std::string q = "blk.0.attn_q.weight", k = "blk.1.attn_k.weight";
  EXPECT_EQ(Refusal(good_, {}), "a.gguf: the adapter holds no tensors");
  const auto half = Pair(q, 256, 256, 4);
  EXPECT_EQ(Refusal(good_, {half[0]}),
            "a.gguf: 'blk.0.attn_q.weight' has a tensor 'lora_a' but no 'lora_b': an adapter has "
            "both");
  EXPECT_EQ(Refusal(good_, {half[1]}),
            "a.gguf: 'blk.0.attn_q.weight' has a tensor 'lora_b' but no 'lora_a': an adapter has "
            "both");
  EXPECT_EQ(Refusal(good_, {half[0], half[1], {"blk.0.attn_norm.weight", {256}}}),
            "a.gguf: tensor 'blk.0.attn_norm.weight' is no half of a LoRA pair (NAME.lora_a, "
            "NAME.lora_b); nothing else can be adapted");
  EXPECT_EQ(Refusal(good_, Pair("blk.2.attn_q.weight", 256, 256, 4)),
            "a.gguf: tensor 'blk.2.attn_q.weight.lora_a' adapts 'blk.2.attn_q.weight', which is no "
            "matrix of the base model");
  EXPECT_NE(Refusal(good_, Pair("output.weight", 256, 259, 4)).find("is no matrix of the base"),
            std::string::npos);
  EXPECT_EQ(Refusal(good_, {{k + ".lora_a", {256, 4}}, {k + ".lora_b", {4, 256}}}),
            "a.gguf: the pair for 'blk.1.attn_k.weight' has shapes [256 x 4] and [4 x 256], but "
            "with rank 4 the base model's matrix needs [256 x 4] and [4 x 128]: is it an adapter "
            "for another model?");
  // Ranks that differ; A not transposed; the embedding's A the other way round.
  for (const auto& pair :
       std::vector<std::vector<Tensor>>{{{q + ".lora_a", {256, 4}}, {q + ".lora_b", {8, 256}}},
                                        {{q + ".lora_a", {4, 256}}, {q + ".lora_b", {4, 256}}},
                                        Pair("token_embd.weight", 259, 256, 4)}) {
    EXPECT_NE(Refusal(good_, pair).find("is it an adapter for another model?"), std::string::npos);
  }
  EXPECT_NE(Refusal(good_, {{q + ".lora_a", {256, 4, 2}}, {q + ".lora_b", {4, 256}}})
                .find("'blk.0.attn_q.weight.lora_a' is no matrix"),
            std::string::npos);
  EXPECT_NE(Refusal(good_, {{q + ".lora_a", {256, 4}, DType::kI32}, {q + ".lora_b", {4, 256}}})
                .find("has type I32, which is not supported; write the adapter in F16"),
            std::string::npos);
}

// A vector is a matrix of one row: rank 1 as some writers store it.
TEST_F(LoraRefusal, ARankOfOneMayBeAVector) {
  EXPECT_EQ(Refusal(good_, {{"blk.0.attn_q.weight.lora_a", {256}},
                            {"blk.0.attn_q.weight.lora_b", {1, 256}}}),
            "");
}

TEST_F(LoraRefusal, DamagedFilesAreRefusedAndNeverRead) {
  const std::vector<std::byte> whole = MakeTinyAdapter(Parsed(ModelBytes("llama")), {.rank = 2});
  for (const size_t length :
       {size_t{0}, size_t{10}, size_t{100}, whole.size() / 2, whole.size() - 1}) {
    EXPECT_NE(RefusalOf({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)}), "");
  }
  // Any byte of the head: either the adapter still makes sense, or a sentence says what does not.
  const TransformerConfig config = *ReadTransformerConfig(Parsed(ModelBytes("llama")));
  ThreadPool pool(1);
  const auto weights = LoadTransformerWeights(Parsed(ModelBytes("llama")), config, pool);
  ASSERT_TRUE(weights.ok());
  int refused = 0;
  for (size_t at = 0; at < 4000; ++at) {
    std::vector<std::byte> damaged = whole;
    damaged[at] ^= std::byte{static_cast<unsigned char>(1 + at % 255)};
    const auto file = ParseGguf(damaged, "a.gguf");
    if (!file.ok()) {
      ++refused;
      continue;
    }
    const auto adapter = LoraAdapter::Load(*file, 1.0f, config, *weights, pool);
    if (adapter.ok()) continue;
    ++refused;
    EXPECT_TRUE(adapter.error().message.starts_with("a.gguf: ")) << adapter.error().message;
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace millrace
