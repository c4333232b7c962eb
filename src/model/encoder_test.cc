// Encoders against a float64 reference, and their independence of the batch, the threads and the
// instruction set, compared bit for bit.
#include "model/encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "gguf/gguf.h"
#include "gguf/writer.h"
#include "tests/tiny_encoder.h"

namespace millrace {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct LoadedEncoder {
  std::vector<std::byte> bytes;
  std::unique_ptr<GgufFile> file;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<Encoder> encoder;
};

LoadedEncoder LoadEncoder(const TinyEncoderSpec& spec, Isa isa, int threads) {
  LoadedEncoder loaded;
  loaded.bytes = MakeTinyEncoder(spec);
  auto file = ParseGguf(loaded.bytes, "tiny.gguf");
  CHECK(file.ok());
  loaded.file = std::make_unique<GgufFile>(std::move(*file));
  loaded.pool = std::make_unique<ThreadPool>(threads);
  EncoderOptions options;
  options.isa = isa;
  options.max_rows = 512;
  auto encoder = Encoder::Load(*loaded.file, options, *loaded.pool);
  EXPECT_TRUE(encoder.ok()) << encoder.error().message;
  loaded.encoder = std::move(*encoder);
  return loaded;
}

std::vector<TokenId> SomeTokens(size_t count, uint64_t seed) {
  CounterRng rng(seed, 5);
  std::vector<TokenId> tokens;
  for (size_t i = 0; i < count; ++i)
    tokens.push_back(TokenId(static_cast<int32_t>(rng.NextU64() % 58)));
  return tokens;
}

// The norm of the difference over the norm of what is expected.
double RelativeError(const LoadedEncoder& loaded, const TinyEncoderSpec& spec,
                     const std::vector<TokenId>& tokens, int64_t second_text) {
  const EncoderInput input{tokens, second_text};
  const MatrixView<const float> hidden = loaded.encoder->Forward({&input, 1});
  std::vector<int32_t> ids;
  for (TokenId t : tokens) ids.push_back(t.value);
  const auto expected = ReferenceHidden(*loaded.file, spec, ids, static_cast<size_t>(second_text));
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    for (size_t j = 0; j < expected[i].size(); ++j) {
      const double d = hidden.row(static_cast<int64_t>(i))[j] - expected[i][j];
      difference += d * d;
      norm += expected[i][j] * expected[i][j];
    }
  }
  return std::sqrt(difference / norm);
}

class EncoderTest : public testing::TestWithParam<std::string> {
 protected:
  TinyEncoderSpec Spec(DType type = DType::kF32) const {
    TinyEncoderSpec spec;
    spec.architecture = GetParam();
    spec.type = type;
    return spec;
  }
};
INSTANTIATE_TEST_SUITE_P(Architectures, EncoderTest, testing::Values("bert", "nomic-bert"),
                         [](const auto& test) { return test.param == "bert" ? "bert" : "nomic"; });

// A product of K terms errs by about sqrt(K) roundings of 2^-24 of its norm, an exponential by a
// few; a layer has six products one behind the other, two norms, a softmax and an activation, and
// none of them enlarges an error by much: 64 sqrt(K) units a layer are ample, and a wrong operation
// is off by thousands of times that.
TEST_P(EncoderTest, AgreesWithFloat64) {
  for (Isa isa : SupportedIsas()) {
    for (const int32_t layers : {1, 3}) {
      TinyEncoderSpec spec = Spec();
      spec.layers = layers;
      const LoadedEncoder loaded = LoadEncoder(spec, isa, 2);
      const double bound = 64 * layers * std::sqrt(96.0) * 0x1p-24;
      for (size_t count : {1u, 2u, 5u, 31u, 64u, 100u, 128u}) {
        const double error = RelativeError(loaded, spec, SomeTokens(count, count), INT64_MAX);
        EXPECT_LT(error, bound) << NameOf(isa) << ", " << layers << " layers, " << count;
      }
    }
  }
}

TEST_P(EncoderTest, TellsTheTwoTextsOfAPairApart) {
  const TinyEncoderSpec spec = Spec();
  const LoadedEncoder loaded = LoadEncoder(spec, DetectIsa(), 1);
  const std::vector<TokenId> tokens = SomeTokens(20, 3);
  EXPECT_LT(RelativeError(loaded, spec, tokens, 8), 64 * 2 * std::sqrt(96.0) * 0x1p-24);
  // The reference without types is another model.
  TinyEncoderSpec one = spec;
  one.token_types = 1;
  const EncoderInput input{tokens, 8};
  const MatrixView<const float> hidden = loaded.encoder->Forward({&input, 1});
  std::vector<int32_t> ids;
  for (TokenId t : tokens) ids.push_back(t.value);
  EXPECT_GT(std::abs(hidden.row(0)[0] - ReferenceHidden(*loaded.file, one, ids, 8)[0][0]), 1e-3);
}

// Products with integer weights quantise activations to 8 bits in groups: an element is off by up
// to half of 1/127 of its group's largest: an error of about 1% of the row in each of the six or
// seven products of a layer.
TEST_P(EncoderTest, TakesQuantisedWeights) {
  for (const auto& [type, bound] :
       {std::pair(DType::kF16, 1e-4), std::pair(DType::kQ8_0, 0.1), std::pair(DType::kQ4_0, 0.1)}) {
    const TinyEncoderSpec spec = Spec(type);
    const LoadedEncoder loaded = LoadEncoder(spec, DetectIsa(), 2);
    EXPECT_LT(RelativeError(loaded, spec, SomeTokens(70, 9), INT64_MAX), bound) << NameOf(type);
  }
}

std::vector<float> RunAll(const LoadedEncoder& loaded, const std::vector<EncoderInput>& texts) {
  const MatrixView<const float> hidden = loaded.encoder->Forward(texts);
  return {hidden.data, hidden.data + hidden.rows * hidden.columns};
}

bool AreSame(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST_P(EncoderTest, TheBatchTheThreadsAndTheInstructionSetDoNotMatter) {
  for (const DType type : {DType::kF32, DType::kQ8_0, DType::kQ4_0}) {
    std::vector<std::vector<TokenId>> tokens;
    std::vector<EncoderInput> texts;
    for (size_t count : {1u, 70u, 2u, 33u, 128u, 9u}) tokens.push_back(SomeTokens(count, count));
    for (const auto& t : tokens) texts.push_back({t, t.size() == 33 ? 10 : INT64_MAX});
    const LoadedEncoder alone = LoadEncoder(Spec(type), Isa::kScalar, 1);
    std::vector<float> forwards, backwards;
    for (const EncoderInput& text : texts) {
      const std::vector<float> one = RunAll(alone, {text});
      forwards.insert(forwards.end(), one.begin(), one.end());
      backwards.insert(backwards.begin(), one.begin(), one.end());
    }
    const std::vector<EncoderInput> reversed(texts.rbegin(), texts.rend());
    for (Isa isa : SupportedIsas()) {
      for (int threads : {1, 3}) {
        const LoadedEncoder together = LoadEncoder(Spec(type), isa, threads);
        EXPECT_TRUE(AreSame(RunAll(together, texts), forwards))
            << NameOf(type) << " " << NameOf(isa) << " " << threads;
        EXPECT_TRUE(AreSame(RunAll(together, reversed), backwards))
            << NameOf(type) << " " << NameOf(isa) << " " << threads;
      }
    }
  }
}

// A copy of the file without one tensor or with other metadata.
std::string LoadError(const TinyEncoderSpec& spec, std::string_view without,
                      const std::function<void(GgufWriter&)>& first = {}) {
  const std::vector<std::byte> bytes = MakeTinyEncoder(spec);
  const GgufFile file = ParseGguf(bytes, "tiny.gguf").value();
  GgufWriter writer;
  if (first) first(writer);
  for (const auto& [key, value] : file.metadata()) {
    if (key != without) writer.AddRaw(key, file.RawValue(key));
  }
  for (const GgufTensor& t : file.tensors()) {
    if (t.name != without) writer.AddTensor(t.name, t.type, t.shape, t.data);
  }
  const std::vector<std::byte> changed = writer.Serialize();
  const GgufFile other = ParseGguf(changed, "tiny.gguf").value();
  ThreadPool pool(1);
  auto encoder = Encoder::Load(other, {}, pool);
  return encoder.ok() ? "" : encoder.error().message;
}

TEST_P(EncoderTest, DamagedFilesAreSentences) {
  EXPECT_EQ(LoadError(Spec(), ""), "");
  for (const char* name :
       {"token_embd.weight", "token_embd_norm.bias", "blk.1.attn_output.weight",
        "blk.0.attn_output_norm.weight", "blk.1.ffn_up.weight", "blk.1.layer_output_norm.bias"}) {
    EXPECT_THAT(LoadError(Spec(), name), AllOf(HasSubstr(name), HasSubstr("missing"))) << name;
  }
  const std::string prefix = GetParam() + ".";
  for (const char* key : {"block_count", "embedding_length", "attention.head_count"}) {
    EXPECT_THAT(LoadError(Spec(), prefix + key), HasSubstr(key)) << key;
  }
  const auto with = [&](const std::string& key, auto add) {
    return LoadError(Spec(), prefix + key, [&](GgufWriter& w) { add(w, prefix + key); });
  };
  EXPECT_THAT(with("feed_forward_length", [](auto& w, const auto& k) { w.AddU32(k, 97); }),
              HasSubstr("expected [64 x 97]"));
  EXPECT_THAT(with("attention.causal", [](auto& w, const auto& k) { w.AddBool(k, true); }),
              HasSubstr("causal"));
  EXPECT_THAT(with("pooling_type", [](auto& w, const auto& k) { w.AddU32(k, 9); }),
              HasSubstr("pooling_type"));
  EXPECT_THAT(with("attention.head_count", [](auto& w, const auto& k) { w.AddU32(k, 3); }),
              HasSubstr("not a multiple of 3 heads"));
  EXPECT_THAT(with("attention.layer_norm_epsilon", [](auto& w, const auto& k) { w.AddF32(k, -1); }),
              HasSubstr("layer_norm_epsilon"));
}

TEST(Encoder, NeedsAPositionForEveryToken) {
  EXPECT_THAT(LoadError({}, "position_embd.weight"), HasSubstr("position_embd.weight"));
  TinyEncoderSpec spec;
  EXPECT_THAT(LoadError(spec, "bert.context_length",
                        [](GgufWriter& w) { w.AddU32("bert.context_length", 129); }),
              HasSubstr("position_embd.weight"));
}

TEST(Encoder, ADecoderIsNone) {
  EXPECT_THAT(LoadError({}, "general.architecture",
                        [](GgufWriter& w) { w.AddString("general.architecture", "llama"); }),
              HasSubstr("'llama' is no encoder"));
}

}  // namespace
}  // namespace millrace
