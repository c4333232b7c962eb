// Folders written by the test, converted, loaded and compared with the GGUF file that they were
// made from: the same logits.
#include "conversion/hugging_face.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "conversion/quantize_file.h"
#include "model/transformer.h"
#include "tests/tiny_model.h"
#include "tokenizer/tokenizer.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

// GGUF name -> Hugging Face name.
std::string HfName(std::string name, bool gemma) {
  const std::pair<const char*, const char*> parts[] = {
      {"token_embd.", "model.embed_tokens."},
      {"output_norm.", "model.norm."},
      {"attn_q_norm.", "self_attn.q_norm."},
      {"attn_k_norm.", "self_attn.k_norm."},
      {"attn_norm.", "input_layernorm."},
      {"attn_q.", "self_attn.q_proj."},
      {"attn_k.", "self_attn.k_proj."},
      {"attn_v.", "self_attn.v_proj."},
      {"attn_output.", "self_attn.o_proj."},
      {"post_attention_norm.", "post_attention_layernorm."},
      {"post_ffw_norm.", "post_feedforward_layernorm."},
      {"ffn_norm.", gemma ? "pre_feedforward_layernorm." : "post_attention_layernorm."},
      {"ffn_gate.", "mlp.gate_proj."},
      {"ffn_up.", "mlp.up_proj."},
      {"ffn_down.", "mlp.down_proj."}};
  if (name == "output.weight") return "lm_head.weight";
  for (const auto& [from, to] : parts) {
    const size_t at = name.find(from);
    if (at == std::string::npos || (at > 0 && name[at - 1] != '.')) continue;
    name.replace(at, std::strlen(from), to);
    break;
  }
  if (name.starts_with("blk.")) name.replace(0, 4, "model.layers.");
  return name;
}

class Folder {
 public:
  explicit Folder(const std::string& architecture)
      : architecture_(architecture),
        path_(fs::temp_directory_path() /
              ("millrace-hf-" + architecture + "-" + std::to_string(::getpid()))) {
    fs::create_directories(path_);
    TinyModelSpec spec;
    spec.architecture = architecture;
    bytes_ = MakeTinyModel(spec);
    file_ = std::make_unique<GgufFile>(ParseGguf(bytes_, "tiny.gguf").value());
  }
  ~Folder() { fs::remove_all(path_); }

  const GgufFile& gguf() const { return *file_; }
  const fs::path& path() const { return path_; }

  void Write() {
    WriteWeights();
    WriteConfig();
    WriteTokenizer();
  }

  int64_t Int(const std::string& key) const {
    return file_->RequireInt(architecture_ + "." + key, 0, INT64_MAX).value();
  }

 private:
  void WriteWeights() {
    Json header;
    std::vector<std::byte> data;
    for (const GgufTensor& t : file_->tensors()) {
      std::vector<std::byte> bytes(t.data.begin(), t.data.end());
      Undo(t, bytes);
      const std::vector<int64_t> shape(t.shape.rbegin(), t.shape.rend());
      header[HfName(std::string(t.name), architecture_ == "gemma3")] = {
          {"dtype", "F32"},
          {"shape", shape},
          {"data_offsets", {data.size(), data.size() + bytes.size()}}};
      data.insert(data.end(), bytes.begin(), bytes.end());
    }
    const std::string text = header.dump();
    const uint64_t length = text.size();
    std::ofstream out(path_ / "model.safetensors", std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), 8);
    out << text;
    out.write(reinterpret_cast<const char*>(data.data()),
              static_cast<std::streamsize>(data.size()));
  }

  // GGUF's forms back to Hugging Face's: llama's rope pairs as halves, gemma's norms less one.
  void Undo(const GgufTensor& t, std::vector<std::byte>& bytes) const {
    const bool q = t.name.find("attn_q.weight") != t.name.npos;
    const bool k = t.name.find("attn_k.weight") != t.name.npos;
    if (architecture_ == "llama" && (q || k)) {
      const std::vector<std::byte> was = bytes;
      const int64_t d = Int("attention.key_length"), row = t.row_length() * 4;
      for (int64_t r = 0; r < t.rows(); ++r) {
        const int64_t head = r / d, i = r % d / 2, j = r % 2;
        const int64_t to = head * d + j * d / 2 + i;
        std::memcpy(bytes.data() + to * row, was.data() + r * row, static_cast<size_t>(row));
      }
    }
    if (architecture_ == "gemma3" && t.name.ends_with("norm.weight")) {
      for (size_t i = 0; i < bytes.size(); i += 4) {
        float v;
        std::memcpy(&v, bytes.data() + i, 4);
        v -= 1;
        std::memcpy(bytes.data() + i, &v, 4);
      }
    }
  }

  void WriteConfig() const {
    Json config = {{"model_type", architecture_ == "gemma3" ? "gemma3_text" : architecture_},
                   {"num_hidden_layers", Int("block_count")},
                   {"hidden_size", Int("embedding_length")},
                   {"intermediate_size", Int("feed_forward_length")},
                   {"num_attention_heads", Int("attention.head_count")},
                   {"num_key_value_heads", Int("attention.head_count_kv")},
                   {"head_dim", Int("attention.key_length")},
                   {"max_position_embeddings", Int("context_length")},
                   {"tie_word_embeddings", file_->FindTensor("output.weight") == nullptr}};
    const auto real = [&](const std::string& key, const char* to) {
      const auto v = file_->FindFloat(architecture_ + "." + key);
      if (v.ok() && *v) config[to] = **v;
    };
    real("attention.layer_norm_rms_epsilon", "rms_norm_eps");
    real("rope.freq_base", "rope_theta");
    const auto window = file_->FindInt(architecture_ + ".attention.sliding_window", 0, 1 << 30);
    if (window.ok() && *window) config["sliding_window"] = **window;
    std::ofstream(path_ / "config.json") << config.dump();
  }

  void WriteTokenizer() const {
    Json vocab = Json::object(), added = Json::array();
    const auto* tokens = file_->FindStrings("tokenizer.ggml.tokens").value();
    const auto* types = file_->FindInts("tokenizer.ggml.token_type").value();
    for (size_t i = 0; i < tokens->size(); ++i) {
      if ((*types)[i] == 3) {
        added.push_back({{"id", i}, {"content", (*tokens)[i]}, {"special", true}});
      } else {
        vocab[std::string((*tokens)[i])] = i;
      }
    }
    const Json out = {{"added_tokens", added},
                      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array()}}}};
    std::ofstream(path_ / "tokenizer.json") << out.dump();
    std::ofstream(path_ / "tokenizer_config.json")
        << R"({"eos_token":"<|im_end|>","chat_template":"{{ messages }}"})";
  }

  std::string architecture_;
  fs::path path_;
  std::vector<std::byte> bytes_;
  std::unique_ptr<GgufFile> file_;
};

std::vector<float> Logits(const GgufFile& file) {
  ThreadPool pool(1);
  auto model = Transformer::Load(file, {}, pool).value();
  KvStore kv = KvStore::Create(model->info().kv_shape, KvType::kF32, 2).value();
  std::vector<TokenId> tokens;
  for (int i = 0; i < 40; ++i) tokens.push_back(TokenId(i * 5 % 250));
  const BlockId blocks[] = {BlockId(0), BlockId(1)};
  const auto logits = model->Forward({{{tokens, 0, blocks, 40}}}, kv);
  return {logits.data, logits.data + logits.rows * logits.columns};
}

class HuggingFace : public ::testing::TestWithParam<const char*> {};

TEST_P(HuggingFace, GivesTheLogitsOfTheGgufFile) {
  Folder folder(GetParam());
  folder.Write();
  auto source = SourceFromHuggingFace(folder.path().string());
  ASSERT_TRUE(source.ok()) << source.error().message;
  ConversionPlan plan;
  for (const SourceTensor& t : source->tensors) plan.types.push_back(t.type);
  ThreadPool pool(2);
  const std::string out = (folder.path() / "out.gguf").string();
  const Status written = WriteConverted(*source, plan, FitKernelsFor(Isa::kScalar), pool, out);
  ASSERT_TRUE(written.ok()) << written.error().message;
  const auto mapped = MappedGguf::Open(out);
  ASSERT_TRUE(mapped.ok()) << mapped.error().message;
  const std::vector<float> expected = Logits(folder.gguf()), got = Logits(mapped->file());
  ASSERT_EQ(expected.size(), got.size());
  for (size_t i = 0; i < got.size(); ++i) {
    // gemma's norms lose a bit by -1 and +1.
    ASSERT_NEAR(got[i], expected[i], std::string(GetParam()) == "gemma3" ? 1e-3 : 0) << i;
  }
  const Tokenizer ours = Tokenizer::FromGguf(mapped->file()).value();
  const Tokenizer theirs = Tokenizer::FromGguf(folder.gguf()).value();
  const std::string text = "Grüße, world! <|im_end|>";
  EXPECT_EQ(ours.Encode(text, SpecialTokens::kParse), theirs.Encode(text, SpecialTokens::kParse));
  EXPECT_EQ(ours.eos(), theirs.FindToken("<|im_end|>"));
  EXPECT_EQ(*mapped->file().FindString("tokenizer.chat_template").value(), "{{ messages }}");
}

INSTANTIATE_TEST_SUITE_P(Architectures, HuggingFace,
                         ::testing::Values("llama", "qwen2", "qwen3", "gemma3"));

TEST(HuggingFaceErrors, SayWhatIsMissing) {
  Folder folder("llama");
  const std::string path = folder.path().string();
  EXPECT_THAT(SourceFromHuggingFace(path).error().message, HasSubstr("config.json is missing"));
  folder.Write();
  std::ofstream(folder.path() / "config.json") << R"({"model_type":"mamba"})";
  EXPECT_THAT(SourceFromHuggingFace(path).error().message, HasSubstr("'mamba' is not supported"));
  folder.Write();
  fs::resize_file(folder.path() / "model.safetensors", 100000);
  EXPECT_THAT(SourceFromHuggingFace(path).error().message, HasSubstr("cut off"));
  fs::remove(folder.path() / "model.safetensors");
  EXPECT_THAT(SourceFromHuggingFace(path).error().message, HasSubstr("no *.safetensors"));
}

}  // namespace
}  // namespace millrace
