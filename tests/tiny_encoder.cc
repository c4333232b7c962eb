#include "tests/tiny_encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <string_view>

#include "base/rng.h"
#include "gguf/writer.h"
#include "quantization/quantize.h"
#include "quantization/weight_matrix.h"

namespace millrace {
namespace {

using Vector = std::vector<double>;
using Rows = std::vector<Vector>;

std::vector<std::string> Vocabulary() {
  std::vector<std::string> tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]"};
  for (char c = 'a'; c <= 'z'; ++c) tokens.push_back("\u2581" + std::string(1, c));
  for (char c = 'a'; c <= 'z'; ++c) tokens.emplace_back(1, c);
  tokens.push_back("\u2581.");
  tokens.push_back("\u2581,");
  return tokens;
}

class EncoderBuilder {
 public:
  explicit EncoderBuilder(const TinyEncoderSpec& spec) : spec_(spec) {}

  std::vector<std::byte> Build() {
    const int32_t e = spec_.width;
    AddHyperparameters();
    AddTokenizer();
    Matrix("token_embd.weight", static_cast<int32_t>(Vocabulary().size()), e, 1.0);
    if (spec_.token_types > 0) Matrix("token_types.weight", spec_.token_types, e, 0.5);
    if (!IsNomic()) Matrix("position_embd.weight", spec_.context_length, e, 0.5);
    Norm("token_embd_norm");
    for (int32_t i = 0; i < spec_.layers; ++i) Layer("blk." + std::to_string(i) + ".");
    if (spec_.classifier) {
      Matrix("cls.weight", e, e, 0.15);
      Floats("cls.bias", e, 0.1, 0.0);
      Matrix("cls.output.weight", 1, e, 0.5);
      Floats("cls.output.bias", 1, 0.1, 0.0);
    }
    return writer_.Serialize();
  }

 private:
  bool IsNomic() const { return spec_.architecture == "nomic-bert"; }

  void AddHyperparameters() {
    const std::string p = spec_.architecture + ".";
    const auto u32 = [&](const std::string& key, int32_t value) {
      writer_.AddU32(p + key, static_cast<uint32_t>(value));
    };
    writer_.AddString("general.architecture", spec_.architecture);
    writer_.AddString("general.name", "tiny-" + spec_.architecture);
    u32("context_length", spec_.context_length);
    u32("embedding_length", spec_.width);
    u32("block_count", spec_.layers);
    u32("feed_forward_length", spec_.ff_width);
    u32("attention.head_count", spec_.heads);
    u32("pooling_type", spec_.pooling);
    writer_.AddF32(p + "attention.layer_norm_epsilon", 1e-6f);
    writer_.AddBool(p + "attention.causal", false);
    if (IsNomic()) writer_.AddF32(p + "rope.freq_base", 1000.0f);
  }

  void AddTokenizer() {
    const std::vector<std::string> tokens = Vocabulary();
    std::vector<int32_t> types(tokens.size(), 1);
    for (size_t i = 0; i < 4; ++i) types[i] = 3;
    writer_.AddString("tokenizer.ggml.model", "bert");
    writer_.AddStrings("tokenizer.ggml.tokens",
                       std::vector<std::string_view>(tokens.begin(), tokens.end()));
    writer_.AddI32s("tokenizer.ggml.token_type", types);
    writer_.AddU32("tokenizer.ggml.unknown_token_id", 1);
    writer_.AddU32("tokenizer.ggml.cls_token_id", 2);
    writer_.AddU32("tokenizer.ggml.seperator_token_id", 3);
  }

  void Layer(const std::string& blk) {
    const int32_t e = spec_.width, f = spec_.ff_width;
    if (IsNomic()) {
      Matrix(blk + "attn_qkv.weight", 3 * e, e, 0.2);
    } else {
      for (const char* name : {"attn_q", "attn_k", "attn_v"}) {
        Matrix(blk + name + ".weight", e, e, 0.2);
        Floats(blk + name + ".bias", e, 0.1, 0.0);
      }
    }
    Matrix(blk + "attn_output.weight", e, e, 0.2);
    Norm(blk + "attn_output_norm");
    if (IsNomic()) Matrix(blk + "ffn_gate.weight", f, e, 0.2);
    Matrix(blk + "ffn_up.weight", f, e, 0.2);
    Matrix(blk + "ffn_down.weight", e, f, 0.2);
    Norm(blk + "layer_output_norm");
    if (IsNomic()) return;
    Floats(blk + "attn_output.bias", e, 0.1, 0.0);
    Floats(blk + "ffn_up.bias", f, 0.1, 0.0);
    Floats(blk + "ffn_down.bias", e, 0.1, 0.0);
  }

  void Norm(const std::string& name) {
    Floats(name + ".weight", spec_.width, 0.1, 1.0);
    Floats(name + ".bias", spec_.width, 0.1, 0.0);
  }

  std::vector<float> Random(int64_t count, double spread, double centre) {
    CounterRng rng(spec_.seed, tensors_++);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& v : values)
      v = static_cast<float>(centre + spread * (2 * rng.NextDouble() - 1) * std::sqrt(3.0));
    return values;
  }

  void Floats(const std::string& name, int32_t count, double spread, double centre) {
    const std::vector<float> values = Random(count, spread, centre);
    std::vector<std::byte>& bytes = storage_.emplace_back(values.size() * sizeof(float));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    writer_.AddTensor(name, DType::kF32, std::vector<int64_t>{count}, bytes);
  }

  void Matrix(const std::string& name, int32_t rows, int32_t columns, double spread) {
    const std::vector<float> values = Random(int64_t{rows} * columns, spread, 0.0);
    std::vector<std::byte>& bytes = storage_.emplace_back(
        static_cast<size_t>(RowBytes(spec_.type, columns)) * static_cast<size_t>(rows));
    QuantizeRow(spec_.type, values, bytes);
    writer_.AddTensor(name, spec_.type, std::vector<int64_t>{columns, rows}, bytes);
  }

  const TinyEncoderSpec& spec_;
  GgufWriter writer_;
  std::deque<std::vector<std::byte>> storage_;
  uint64_t tensors_ = 0;
};

// ---- the reference ----

Rows MatrixOf(const GgufFile& file, const std::string& name) {
  const GgufTensor& t = *file.FindTensor(name);
  const int64_t columns = t.row_length();
  const WeightMatrix matrix = WeightMatrix::InPlace(t.type, t.rows(), columns, t.data).value();
  Rows rows;
  std::vector<float> row(static_cast<size_t>(columns));
  for (int64_t i = 0; i < t.rows(); ++i) {
    matrix.DequantizeRow(i, row);
    rows.emplace_back(row.begin(), row.end());
  }
  return rows;
}

// Zeros where there is no such tensor.
Vector VectorOf(const GgufFile& file, const std::string& name, size_t count) {
  const GgufTensor* t = file.FindTensor(name);
  if (t == nullptr) return Vector(count, 0.0);
  std::vector<float> values(count);
  std::memcpy(values.data(), t->data.data(), count * sizeof(float));
  return {values.begin(), values.end()};
}

Vector Linear(const GgufFile& file, const std::string& name, const Vector& x) {
  const Rows w = MatrixOf(file, name + ".weight");
  Vector y = VectorOf(file, name + ".bias", w.size());
  for (size_t n = 0; n < w.size(); ++n) {
    for (size_t k = 0; k < x.size(); ++k) y[n] += w[n][k] * x[k];
  }
  return y;
}

Rows LinearRows(const GgufFile& file, const std::string& name, const Rows& x) {
  Rows y;
  for (const Vector& row : x) y.push_back(Linear(file, name, row));
  return y;
}

void NormRows(const GgufFile& file, const std::string& name, Rows& x) {
  const size_t e = x[0].size();
  const Vector weight = VectorOf(file, name + ".weight", e);
  const Vector bias = VectorOf(file, name + ".bias", e);
  for (Vector& row : x) {
    double mean = 0, variance = 0;
    for (double v : row) mean += v / static_cast<double>(e);
    for (double v : row) variance += (v - mean) * (v - mean) / static_cast<double>(e);
    for (size_t i = 0; i < e; ++i)
      row[i] = (row[i] - mean) / std::sqrt(variance + 1e-6) * weight[i] + bias[i];
  }
}

// Pairs (i, i + D/2) of each head turn by position * 1000^(-2i/D).
void Rotate(Rows& x, size_t heads) {
  const size_t d = x[0].size() / heads;
  for (size_t position = 0; position < x.size(); ++position) {
    for (size_t h = 0; h < heads; ++h) {
      for (size_t i = 0; i < d / 2; ++i) {
        const double angle =
            static_cast<double>(position) *
            std::pow(1000.0, -2.0 * static_cast<double>(i) / static_cast<double>(d));
        double& a = x[position][h * d + i];
        double& b = x[position][h * d + i + d / 2];
        const double turned = a * std::cos(angle) - b * std::sin(angle);
        b = a * std::sin(angle) + b * std::cos(angle);
        a = turned;
      }
    }
  }
}

Rows Attention(const Rows& q, const Rows& k, const Rows& v, size_t heads) {
  const size_t n = q.size(), d = q[0].size() / heads;
  Rows out(n, Vector(q[0].size(), 0.0));
  for (size_t h = 0; h < heads; ++h) {
    for (size_t i = 0; i < n; ++i) {
      Vector p(n, 0.0);
      double sum = 0;
      for (size_t j = 0; j < n; ++j) {
        for (size_t c = h * d; c < (h + 1) * d; ++c) p[j] += q[i][c] * k[j][c];
        p[j] = std::exp(p[j] / std::sqrt(static_cast<double>(d)));
        sum += p[j];
      }
      for (size_t j = 0; j < n; ++j) {
        for (size_t c = h * d; c < (h + 1) * d; ++c) out[i][c] += p[j] / sum * v[j][c];
      }
    }
  }
  return out;
}

Rows FeedForward(const GgufFile& file, const std::string& blk, const Rows& x) {
  Rows up = LinearRows(file, blk + "ffn_up", x);
  if (file.FindTensor(blk + "ffn_gate.weight") != nullptr) {
    const Rows gate = LinearRows(file, blk + "ffn_gate", x);
    for (size_t i = 0; i < up.size(); ++i) {
      for (size_t j = 0; j < up[i].size(); ++j) {
        up[i][j] *= gate[i][j] / (1 + std::exp(-gate[i][j]));
      }
    }
  } else {
    for (Vector& row : up) {
      for (double& y : row) y = 0.5 * y * std::erfc(-y / std::sqrt(2.0));
    }
  }
  return LinearRows(file, blk + "ffn_down", up);
}

void AddRows(Rows& x, const Rows& y) {
  for (size_t i = 0; i < x.size(); ++i) {
    for (size_t j = 0; j < x[i].size(); ++j) x[i][j] += y[i][j];
  }
}

}  // namespace

std::vector<std::byte> MakeTinyEncoder(const TinyEncoderSpec& spec) {
  return EncoderBuilder(spec).Build();
}

std::vector<std::vector<double>> ReferenceHidden(const GgufFile& file, const TinyEncoderSpec& spec,
                                                 const std::vector<int32_t>& tokens,
                                                 size_t second_text) {
  const bool nomic = spec.architecture == "nomic-bert";
  const auto heads = static_cast<size_t>(spec.heads), e = static_cast<size_t>(spec.width);
  const Rows embedding = MatrixOf(file, "token_embd.weight");
  Rows x;
  for (int32_t t : tokens) x.push_back(embedding[static_cast<size_t>(t)]);
  if (spec.token_types > 0) {
    const Rows types = MatrixOf(file, "token_types.weight");
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t type = spec.token_types > 1 && i >= second_text ? 1 : 0;
      for (size_t j = 0; j < e; ++j) x[i][j] += types[type][j];
    }
  }
  if (!nomic) AddRows(x, MatrixOf(file, "position_embd.weight"));
  NormRows(file, "token_embd_norm", x);
  for (int32_t layer = 0; layer < spec.layers; ++layer) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    Rows q, k, v;
    if (nomic) {
      for (const Vector& row : LinearRows(file, blk + "attn_qkv", x)) {
        const auto at = [&](size_t part) { return row.begin() + static_cast<int64_t>(part * e); };
        q.emplace_back(at(0), at(1));
        k.emplace_back(at(1), at(2));
        v.emplace_back(at(2), at(3));
      }
      Rotate(q, heads);
      Rotate(k, heads);
    } else {
      q = LinearRows(file, blk + "attn_q", x);
      k = LinearRows(file, blk + "attn_k", x);
      v = LinearRows(file, blk + "attn_v", x);
    }
    AddRows(x, LinearRows(file, blk + "attn_output", Attention(q, k, v, heads)));
    NormRows(file, blk + "attn_output_norm", x);
    AddRows(x, FeedForward(file, blk, x));
    NormRows(file, blk + "layer_output_norm", x);
  }
  return x;
}

double ReferenceScore(const GgufFile& file, const std::vector<std::vector<double>>& hidden) {
  Vector pooled = Linear(file, "cls", hidden[0]);
  for (double& y : pooled) y = std::tanh(y);
  return Linear(file, "cls.output", pooled)[0];
}

}  // namespace millrace
