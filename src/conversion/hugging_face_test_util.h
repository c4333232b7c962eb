// Hugging Face folders that tests write of tiny models, and the logits of what is made of them.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/transformer.h"
#include "tests/tiny_model.h"

namespace millrace {

// `header` without its length, and the bytes that its data_offsets mean.
inline void WriteSafetensors(const std::filesystem::path& path,
                             const nlohmann::ordered_json& header,
                             std::span<const std::byte> data) {
  const std::string text = header.dump();
  const uint64_t length = text.size();
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), 8);
  out << text;
  out.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
}

// GGUF name -> Hugging Face name.
inline std::string HfName(std::string name, bool gemma) {
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

class HuggingFaceFolder {
 public:
  explicit HuggingFaceFolder(const std::string& architecture, bool tied = true)
      : architecture_(architecture),
        path_(std::filesystem::temp_directory_path() /
              ("millrace-hf-" + architecture + "-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
    TinyModelSpec spec;
    spec.architecture = architecture;
    spec.tied = tied;
    bytes_ = MakeTinyModel(spec);
    file_ = std::make_unique<GgufFile>(ParseGguf(bytes_, "tiny.gguf").value());
  }
  ~HuggingFaceFolder() { std::filesystem::remove_all(path_); }

  const GgufFile& gguf() const { return *file_; }
  const std::filesystem::path& path() const { return path_; }

  // `change`, if given, is shown each matrix as Hugging Face has it before it is written.
  using Change = std::function<void(const std::string& name, int64_t rows, int64_t columns,
                                    std::span<float> values)>;
  void Write(const Change& change = {}) {
    WriteWeights(change);
    WriteConfig();
    WriteTokenizer();
  }

  int64_t Int(const std::string& key) const {
    return file_->RequireInt(architecture_ + "." + key, 0, INT64_MAX).value();
  }

 private:
  void WriteWeights(const Change& change) {
    nlohmann::ordered_json header;
    std::vector<std::byte> data;
    for (const GgufTensor& t : file_->tensors()) {
      std::vector<std::byte> bytes(t.data.begin(), t.data.end());
      Undo(t, bytes);
      const std::vector<int64_t> shape(t.shape.rbegin(), t.shape.rend());
      const std::string name = HfName(std::string(t.name), architecture_ == "gemma3");
      if (change && shape.size() == 2) {
        std::vector<float> values(bytes.size() / 4);
        std::memcpy(values.data(), bytes.data(), bytes.size());
        change(name, shape[0], shape[1], values);
        std::memcpy(bytes.data(), values.data(), bytes.size());
      }
      header[name] = {{"dtype", "F32"},
                      {"shape", shape},
                      {"data_offsets", {data.size(), data.size() + bytes.size()}}};
      data.insert(data.end(), bytes.begin(), bytes.end());
    }
    WriteSafetensors(path_ / "model.safetensors", header, data);
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
    nlohmann::ordered_json config = {
        {"model_type", architecture_ == "gemma3" ? "gemma3_text" : architecture_},
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
    nlohmann::ordered_json vocab = nlohmann::ordered_json::object(),
                           added = nlohmann::ordered_json::array();
    const auto* tokens = file_->FindStrings("tokenizer.ggml.tokens").value();
    const auto* types = file_->FindInts("tokenizer.ggml.token_type").value();
    for (size_t i = 0; i < tokens->size(); ++i) {
      if ((*types)[i] == 3) {
        added.push_back({{"id", i}, {"content", (*tokens)[i]}, {"special", true}});
      } else {
        vocab[std::string((*tokens)[i])] = i;
      }
    }
    const nlohmann::ordered_json out = {
        {"added_tokens", added},
        {"model",
         {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::ordered_json::array()}}}};
    std::ofstream(path_ / "tokenizer.json") << out.dump();
    std::ofstream(path_ / "tokenizer_config.json")
        << R"({"eos_token":"<|im_end|>","chat_template":"{{ messages }}"})";
  }

  std::string architecture_;
  std::filesystem::path path_;
  std::vector<std::byte> bytes_;
  std::unique_ptr<GgufFile> file_;
};

// Of 40 tokens; with an adapter, under it.
inline std::vector<float> LogitsOf(const GgufFile& file, const GgufFile* adapter = nullptr) {
  ThreadPool pool(1);
  auto model = Transformer::Load(file, {}, pool).value();
  KvStore kv = KvStore::Create(model->info().kv_shape, KvType::kF32, 2).value();
  std::vector<TokenId> tokens;
  for (int i = 0; i < 40; ++i) tokens.push_back(TokenId(i * 5 % 250));
  const BlockId blocks[] = {BlockId(0), BlockId(1)};
  std::optional<AdapterId> under;
  if (adapter != nullptr) {
    const Status added = model->AddAdapter({"any", "any"}, *adapter, 1.0f);
    EXPECT_TRUE(added.ok()) << (added.ok() ? "" : added.error().message);
    if (added.ok()) under = AdapterId(0);
  }
  const auto logits = model->Forward(
      {{{.tokens = tokens, .block_table = blocks, .logit_rows = 40, .adapter = under}}}, kv);
  return {logits.data, logits.data + logits.rows * logits.columns};
}

}  // namespace millrace
