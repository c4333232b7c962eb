// Encoders' folders written by the test from a GGUF file under Hugging Face's names, converted, and
// compared with that file: the same vectors and scores, bit for bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "conversion/hugging_face.h"
#include "conversion/quantize_file.h"
#include "conversion/type_mix.h"
#include "embedding/embedding_test_util.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using OrderedJson = nlohmann::ordered_json;

// GGUF's beginnings of names, and what stands for them; {} is the layer's number.
using Names = std::vector<std::pair<std::string, std::string>>;
const Names kBertNames = {{"token_embd.", "bert.embeddings.word_embeddings."},
                          {"token_types.", "bert.embeddings.token_type_embeddings."},
                          {"position_embd.", "bert.embeddings.position_embeddings."},
                          {"token_embd_norm.", "bert.embeddings.LayerNorm."},
                          {"attn_q.", "attention.self.query."},
                          {"attn_k.", "attention.self.key."},
                          {"attn_v.", "attention.self.value."},
                          {"attn_output.", "attention.output.dense."},
                          {"attn_output_norm.", "attention.output.LayerNorm."},
                          {"ffn_up.", "intermediate.dense."},
                          {"ffn_down.", "output.dense."},
                          {"layer_output_norm.", "output.LayerNorm."},
                          {"cls.output.", "classifier."},
                          {"cls.", "bert.pooler.dense."}};
const Names kNomicNames = {{"token_embd.", "embeddings.word_embeddings."},
                           {"token_types.", "embeddings.token_type_embeddings."},
                           {"token_embd_norm.", "emb_ln."},
                           {"attn_qkv.", "attn.Wqkv."},
                           {"attn_output.", "attn.out_proj."},
                           {"attn_output_norm.", "norm1."},
                           {"ffn_up.", "mlp.fc11."},
                           {"ffn_gate.", "mlp.fc12."},
                           {"ffn_down.", "mlp.fc2."},
                           {"layer_output_norm.", "norm2."}};

class EncoderFolder {
 public:
  explicit EncoderFolder(const TinyEncoderSpec& spec)
      : spec_(spec),
        path_(std::filesystem::temp_directory_path() /
              ("millrace-hf-encoder-" + std::to_string(::getpid()))),
        bytes_(MakeTinyEncoder(spec)),
        file_(ParseGguf(bytes_, "tiny.gguf").value()) {
    std::filesystem::create_directories(path_ / "1_Pooling");
    WriteWeights();
    WriteConfig();
    WriteTokenizer();
    if (spec.pooling == 4) return;
    const char* modes[] = {"pooling_mode_mean_tokens", "pooling_mode_cls_token",
                           "pooling_mode_lasttoken"};
    OrderedJson pooling;
    for (int i = 0; i < 3; ++i) pooling[modes[i]] = spec.pooling == i + 1;
    Write("1_Pooling/config.json", pooling);
  }
  ~EncoderFolder() { std::filesystem::remove_all(path_); }

  const std::vector<std::byte>& gguf_bytes() const { return bytes_; }
  std::string path() const { return path_.string(); }
  OrderedJson& config() { return config_; }
  void Write(const char* name, const OrderedJson& json) const {
    std::ofstream(path_ / name) << json.dump();
  }

 private:
  bool IsNomic() const { return spec_.architecture == "nomic-bert"; }

  std::string HfEncoderName(std::string name) const {
    std::string prefix;
    if (name.starts_with("blk.")) {
      const size_t dot = name.find('.', 4);
      prefix =
          (IsNomic() ? "encoder.layers." : "bert.encoder.layer.") + name.substr(4, dot - 4) + ".";
      name = name.substr(dot + 1);
    }
    for (const auto& [from, to] : IsNomic() ? kNomicNames : kBertNames) {
      if (name.starts_with(from)) return prefix + to + name.substr(from.size());
    }
    ADD_FAILURE() << name;
    return name;
  }

  void WriteWeights() const {
    OrderedJson header;
    std::string data;
    for (const GgufTensor& t : file_.tensors()) {
      header[HfEncoderName(std::string(t.name))] = {
          {"dtype", "F32"},
          {"shape", std::vector<int64_t>(t.shape.rbegin(), t.shape.rend())},
          {"data_offsets", {data.size(), data.size() + t.data.size()}}};
      data.append(reinterpret_cast<const char*>(t.data.data()), t.data.size());
    }
    const std::string text = header.dump();
    const uint64_t length = text.size();
    std::ofstream out(path_ / "model.safetensors", std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), 8);
    out << text << data;
  }

  void WriteConfig() {
    config_ = IsNomic()
                  ? OrderedJson{{"model_type", "nomic_bert"}, {"n_layer", spec_.layers},
                                {"n_embd", spec_.width},      {"n_inner", spec_.ff_width},
                                {"n_head", spec_.heads},      {"n_positions", spec_.context_length},
                                {"layer_norm_epsilon", 1e-6}, {"rotary_emb_base", 1000}}
                  : OrderedJson{{"model_type", "bert"},
                                {"num_hidden_layers", spec_.layers},
                                {"hidden_size", spec_.width},
                                {"intermediate_size", spec_.ff_width},
                                {"num_attention_heads", spec_.heads},
                                {"max_position_embeddings", spec_.context_length},
                                {"hidden_act", "gelu"},
                                {"layer_norm_eps", 1e-6}};
    Write("config.json", config_);
  }

  void WriteTokenizer() const {
    const std::string mark = "\u2581";
    OrderedJson vocab = OrderedJson::object(), added = OrderedJson::array();
    const auto* tokens = file_.FindStrings("tokenizer.ggml.tokens").value();
    for (size_t i = 0; i < tokens->size(); ++i) {
      std::string token((*tokens)[i]);
      if (i < 4) {
        added.push_back({{"id", i}, {"content", token}, {"special", true}});
      } else {
        token = token.starts_with(mark) ? token.substr(mark.size()) : "##" + token;
      }
      vocab[token] = i;
    }
    Write("tokenizer.json",
          {{"added_tokens", added},
           {"normalizer",
            {{"type", "BertNormalizer"}, {"lowercase", true}, {"strip_accents", nullptr}}},
           {"model", {{"type", "WordPiece"}, {"unk_token", "[UNK]"}, {"vocab", vocab}}}});
    Write("tokenizer_config.json", {{"cls_token", "[CLS]"}, {"sep_token", "[SEP]"}});
  }

  TinyEncoderSpec spec_;
  std::filesystem::path path_;
  std::vector<std::byte> bytes_;
  GgufFile file_;
  OrderedJson config_;
};

std::vector<std::byte> Converted(const EncoderFolder& folder, const char* type) {
  auto source = SourceFromHuggingFace(folder.path());
  EXPECT_TRUE(source.ok()) << source.error().message;
  ConversionPlan plan;
  plan.types = ChooseTypes(*source, ParseFileType(type).value(), {}, false).value();
  ThreadPool pool(1);
  const std::string out = folder.path() + "/out.gguf";
  const Status written = WriteConverted(*source, plan, FitKernelsFor(Isa::kScalar), pool, out);
  EXPECT_TRUE(written.ok()) << written.error().message;
  const auto mapped = MappedGguf::Open(out).value();
  return {mapped.bytes().begin(), mapped.bytes().end()};
}

TEST(HuggingFaceEncoder, GivesTheVectorsOfTheGgufFile) {
  for (const char* architecture : {"bert", "nomic-bert"}) {
    for (int32_t pooling : {1, 2, 3}) {
      TinyEncoderSpec spec;
      spec.architecture = architecture;
      spec.pooling = pooling;
      const EncoderFolder folder(spec);
      const TestModel theirs = LoadTestBytes(folder.gguf_bytes());
      const TestModel ours = LoadTestBytes(Converted(folder, "F32"));
      EXPECT_EQ(ours.model->pooling(), theirs.model->pooling());
      EXPECT_EQ(ours.model->max_tokens(), 128);
      ExpectBatchesAgree(*theirs.model, *ours.model);
      EXPECT_EQ(Numbers(ours.model->Encode("Ünlike, words").tokens),
                Numbers(theirs.model->Encode("unlike, words").tokens));
    }
  }
}

TEST(HuggingFaceEncoder, ACrossEncoderKeepsItsClassifier) {
  TinyEncoderSpec spec;
  spec.pooling = 4;
  spec.classifier = true;
  const EncoderFolder folder(spec);
  const TestModel theirs = LoadTestBytes(folder.gguf_bytes());
  const TestModel ours = LoadTestBytes(Converted(folder, "F32"));
  ASSERT_TRUE(ours.model->ranks());
  const EmbeddingText pair = ours.model->EncodePair("what is a mill", "a mill.");
  EXPECT_EQ(ComputeOne(*ours.model, pair), ComputeOne(*theirs.model, pair));
}

TEST(HuggingFaceEncoder, QuantisesToTheUsualTypes) {
  const EncoderFolder folder({});
  for (const char* type : {"F16", "Q8_0", "Q4_0"}) {
    const TestModel m = LoadTestBytes(Converted(folder, type));
    EXPECT_EQ(m.file->FindTensor("position_embd.weight")->type, DType::kF32);
    EXPECT_NE(m.file->FindTensor("blk.0.ffn_up.weight")->type, DType::kF32) << type;
    const EmbeddingText text = m.model->Encode("some words");
    const std::vector<float> exact = ComputeOne(*LoadTestBytes(folder.gguf_bytes()).model, text);
    const std::vector<float> got = ComputeOne(*m.model, text);
    double cosine = 0;
    for (size_t i = 0; i < got.size(); ++i) cosine += double{got[i]} * exact[i];
    EXPECT_GT(cosine, 0.9) << type;
  }
}

TEST(HuggingFaceEncoder, SaysWhatIsNotSupported) {
  EncoderFolder folder({});
  const auto error = [&](const char* key, const OrderedJson& value) {
    OrderedJson config = folder.config();
    config[key] = value;
    folder.Write("config.json", config);
    const auto source = SourceFromHuggingFace(folder.path());
    return source.ok() ? std::string() : source.error().message;
  };
  EXPECT_EQ(error("hidden_act", "gelu"), "");
  EXPECT_THAT(error("hidden_act", "gelu_new"), HasSubstr("'gelu_new' is not supported"));
  EXPECT_THAT(error("position_embedding_type", "relative_key"), HasSubstr("relative_key"));
  EXPECT_THAT(error("num_hidden_layers", 3), HasSubstr("'blk.2."));
  EXPECT_THAT(error("hidden_size", nullptr), HasSubstr("hidden_size is missing"));
  folder.Write("config.json", folder.config());
  folder.Write("1_Pooling/config.json", {{"pooling_mode_max_tokens", true}});
  EXPECT_THAT(SourceFromHuggingFace(folder.path()).error().message, HasSubstr("1_Pooling"));
}

}  // namespace
}  // namespace millrace
