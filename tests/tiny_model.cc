#include "tests/tiny_model.h"

#include <cmath>
#include <cstring>
#include <deque>
#include <string_view>

#include "base/rng.h"
#include "gguf/writer.h"
#include "quantization/quantize.h"
#include "quantization/test_support.h"

namespace millrace {
namespace {

constexpr std::string_view kControl[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
constexpr std::string_view kTemplate =
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

void AppendUtf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

// GPT-2's table: each byte as one printable character.
std::vector<std::string> ByteSymbols() {
  std::vector<std::string> symbols;
  uint32_t next = 256;
  for (uint32_t b = 0; b < 256; ++b) {
    const bool shown = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    std::string s;
    AppendUtf8(s, shown ? b : next++);
    symbols.push_back(s);
  }
  return symbols;
}

class Builder {
 public:
  explicit Builder(const TinyModelSpec& spec) : spec_(spec) {}

  std::vector<std::byte> Build() {
    AddHyperparameters();
    AddTokenizer();
    AddMatrix("token_embd.weight", kVocab, spec_.width, 1.0);
    AddVector("output_norm.weight", spec_.width);
    if (!spec_.tied) AddMatrix("output.weight", kVocab, spec_.width, 0.08);
    for (int32_t i = 0; i < spec_.layers; ++i) AddLayer("blk." + std::to_string(i) + ".");
    return writer_.Serialize();
  }

 private:
  static constexpr int32_t kVocab = 256 + 3;

  void AddHyperparameters() {
    const std::string p = spec_.architecture + ".";
    const auto u32 = [](int32_t v) { return static_cast<uint32_t>(v); };
    writer_.AddString("general.architecture", spec_.architecture);
    writer_.AddString("general.name", "tiny-" + spec_.architecture);
    writer_.AddU32(p + "context_length", u32(spec_.context_length));
    writer_.AddU32(p + "embedding_length", u32(spec_.width));
    writer_.AddU32(p + "block_count", u32(spec_.layers));
    writer_.AddU32(p + "feed_forward_length", u32(spec_.ff_width));
    writer_.AddU32(p + "attention.head_count", u32(spec_.heads));
    writer_.AddU32(p + "attention.head_count_kv", u32(spec_.kv_heads));
    writer_.AddU32(p + "attention.key_length", u32(spec_.head_dim));
    writer_.AddU32(p + "attention.value_length", u32(spec_.head_dim));
    writer_.AddU32(p + "rope.dimension_count", u32(spec_.head_dim));
    writer_.AddF32(p + "rope.freq_base", 10000.0f);
    writer_.AddF32(p + "attention.layer_norm_rms_epsilon", 1e-5f);
    if (spec_.architecture == "gemma3") writer_.AddU32(p + "attention.sliding_window", 48);
  }

  void AddTokenizer() {
    std::vector<std::string> tokens = ByteSymbols();
    for (const std::string_view c : kControl) tokens.emplace_back(c);
    const std::vector<std::string_view> views(tokens.begin(), tokens.end());
    std::vector<int32_t> types(tokens.size(), 1);
    for (size_t i = 256; i < tokens.size(); ++i) types[i] = 3;
    writer_.AddString("tokenizer.ggml.model", "gpt2");
    writer_.AddString("tokenizer.ggml.pre", "gpt-2");
    writer_.AddStrings("tokenizer.ggml.tokens", views);
    writer_.AddI32s("tokenizer.ggml.token_type", types);
    writer_.AddStrings("tokenizer.ggml.merges", {});
    writer_.AddU32("tokenizer.ggml.bos_token_id", 256);
    writer_.AddU32("tokenizer.ggml.eos_token_id", 258);
    writer_.AddBool("tokenizer.ggml.add_bos_token", false);
    writer_.AddString("tokenizer.chat_template", kTemplate);
  }

  void AddLayer(const std::string& blk) {
    const int32_t q = spec_.heads * spec_.head_dim, kv = spec_.kv_heads * spec_.head_dim;
    AddVector(blk + "attn_norm.weight", spec_.width);
    AddMatrix(blk + "attn_q.weight", q, spec_.width, 0.08);
    AddMatrix(blk + "attn_k.weight", kv, spec_.width, 0.08);
    AddMatrix(blk + "attn_v.weight", kv, spec_.width, 0.08);
    AddMatrix(blk + "attn_output.weight", spec_.width, q, 0.08);
    AddVector(blk + "ffn_norm.weight", spec_.width);
    AddMatrix(blk + "ffn_gate.weight", spec_.ff_width, spec_.width, 0.08);
    AddMatrix(blk + "ffn_up.weight", spec_.ff_width, spec_.width, 0.08);
    AddMatrix(blk + "ffn_down.weight", spec_.width, spec_.ff_width, 0.06);
    if (spec_.architecture == "qwen2") {
      AddVector(blk + "attn_q.bias", q);
      AddVector(blk + "attn_k.bias", kv);
      AddVector(blk + "attn_v.bias", kv);
    }
    if (spec_.architecture == "qwen3" || spec_.architecture == "gemma3") {
      AddVector(blk + "attn_q_norm.weight", spec_.head_dim);
      AddVector(blk + "attn_k_norm.weight", spec_.head_dim);
    }
    if (spec_.architecture == "gemma3") {
      AddVector(blk + "post_attention_norm.weight", spec_.width);
      AddVector(blk + "post_ffw_norm.weight", spec_.width);
    }
  }

  std::vector<float> Random(int64_t count, double spread, double centre) {
    CounterRng rng(spec_.seed, tensors_++);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& v : values)
      v = static_cast<float>(centre + spread * (2 * rng.NextDouble() - 1) * std::sqrt(3.0));
    return values;
  }

  void AddVector(const std::string& name, int32_t count) {
    const std::vector<float> values = Random(count, 0.1, 1.0);
    std::vector<std::byte>& bytes = storage_.emplace_back(values.size() * sizeof(float));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    const int64_t shape[] = {count};
    writer_.AddTensor(name, DType::kF32, shape, bytes);
  }

  void AddMatrix(const std::string& name, int32_t rows, int32_t columns, double spread) {
    const int64_t shape[] = {columns, rows};
    if (!CanQuantize(spec_.type)) {
      storage_.push_back(RandomBlocks(spec_.type, rows, columns, spec_.seed + tensors_++));
      writer_.AddTensor(name, spec_.type, shape, storage_.back());
      return;
    }
    const std::vector<float> values = Random(int64_t{rows} * columns, spread, 0.0);
    const auto row_bytes = static_cast<size_t>(RowBytes(spec_.type, columns));
    std::vector<std::byte>& bytes = storage_.emplace_back(row_bytes * static_cast<size_t>(rows));
    for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
      QuantizeRow(
          spec_.type,
          std::span(values).subspan(r * static_cast<size_t>(columns), static_cast<size_t>(columns)),
          std::span(bytes).subspan(r * row_bytes, row_bytes));
    }
    writer_.AddTensor(name, spec_.type, shape, bytes);
  }

  const TinyModelSpec& spec_;
  GgufWriter writer_;
  std::deque<std::vector<std::byte>> storage_;
  uint64_t tensors_ = 0;
};

}  // namespace

std::vector<std::byte> MakeTinyModel(const TinyModelSpec& spec) { return Builder(spec).Build(); }

}  // namespace millrace
