// PEFT folders written by the test, converted and loaded beside the base model: the logits are
// those of the model whose Hugging Face weights had the adapter merged in double precision before
// it was converted itself.
#include "conversion/peft_adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/rng.h"
#include "conversion/hugging_face.h"
#include "conversion/hugging_face_test_util.h"
#include "conversion/quantize_file.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using Ordered = nlohmann::ordered_json;
namespace fs = std::filesystem;

// A random pair for a module of a folder, in Hugging Face's terms.
struct PeftPair {
  int64_t rank = 0;
  std::vector<float> a, b;  // [rank, columns], [rows, rank]; of an embedding [rank, V], [E, rank]
  int64_t a_columns = 0, b_rows = 0;
};

class PeftFolder {
 public:
  explicit PeftFolder(const HuggingFaceFolder& base) : path_(base.path() / "adapter") {
    fs::create_directories(path_);
    config_ = {{"peft_type", "LORA"},
               {"r", 4},
               {"lora_alpha", 8},
               {"bias", "none"},
               {"use_dora", false},
               {"modules_to_save", nullptr},
               {"base_model_name_or_path", base.path().string()}};
  }
  std::string path() const { return path_.string(); }
  Ordered& config() { return config_; }

  void Add(const std::string& module, int64_t rows, int64_t columns, int64_t rank) {
    const bool embeds = module.ends_with("embed_tokens");
    PeftPair& pair = pairs_[module];
    pair.rank = rank;
    pair.a_columns = embeds ? rows : columns;
    pair.b_rows = embeds ? columns : rows;
    const auto fill = [&](std::vector<float>& values, int64_t count) {
      CounterRng rng(7, stream_++);
      for (int64_t i = 0; i < count; ++i) {
        values.push_back(static_cast<float>(0.2 * rng.NextDouble() - 0.1));
      }
    };
    fill(pair.a, rank * pair.a_columns);
    fill(pair.b, pair.b_rows * rank);
  }

  void Write() {
    std::ofstream(path_ / "adapter_config.json") << config_.dump();
    Ordered header;
    std::vector<std::byte> data;
    const auto add = [&](const std::string& name, int64_t rows, int64_t columns,
                         const std::vector<float>& values) {
      const auto bytes = std::as_bytes(std::span(values));
      header[name] = {{"dtype", "F32"},
                      {"shape", {rows, columns}},
                      {"data_offsets", {data.size(), data.size() + bytes.size()}}};
      data.insert(data.end(), bytes.begin(), bytes.end());
    };
    for (const auto& [module, pair] : pairs_) {
      const bool embeds = module.ends_with("embed_tokens");
      const std::string start =
          "base_model.model." + module + (embeds ? ".lora_embedding_" : ".lora_");
      const std::string end = embeds ? "" : ".weight";
      add(start + "A" + end, pair.rank, pair.a_columns, pair.a);
      add(start + "B" + end, pair.b_rows, pair.rank, pair.b);
    }
    for (const auto& [name, rows] : extra_) {
      add(name, rows, 2, std::vector<float>(static_cast<size_t>(2 * rows), 0.5f));
    }
    WriteSafetensors(path_ / "adapter_model.safetensors", header, data);
  }
  void AddTensor(const std::string& name, int64_t rows) { extra_[name] = rows; }

  // W + scale * B A, computed in double precision and rounded once.
  void Merge(const std::string& name, int64_t columns, double (*scale)(const std::string&, int64_t),
             std::span<float> values) const {
    const auto at = pairs_.find(name.substr(0, name.size() - 7));  // without ".weight"
    if (at == pairs_.end()) return;
    const PeftPair& pair = at->second;
    const bool embeds = at->first.ends_with("embed_tokens");
    const double factor = scale(at->first, pair.rank);
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t row = i / static_cast<size_t>(columns),
                   column = i % static_cast<size_t>(columns);
      const size_t b_row = embeds ? column : row, a_column = embeds ? row : column;
      double sum = 0;
      for (size_t r = 0; r < static_cast<size_t>(pair.rank); ++r) {
        sum += static_cast<double>(pair.b[b_row * static_cast<size_t>(pair.rank) + r]) *
               pair.a[r * static_cast<size_t>(pair.a_columns) + a_column];
      }
      values[i] = static_cast<float>(values[i] + factor * sum);
    }
  }

 private:
  fs::path path_;
  Ordered config_;
  std::map<std::string, PeftPair> pairs_;
  std::map<std::string, int64_t> extra_;
  uint64_t stream_ = 0;
};

// As PEFT computes a module's scaling.
double Plain(const std::string&, int64_t rank) { return 8.0 / static_cast<double>(rank); }
double RsLora(const std::string&, int64_t rank) {
  return 8.0 / std::sqrt(static_cast<double>(rank));
}
double Patterned(const std::string& module, int64_t rank) {
  const bool other = module.ends_with("mlp.up_proj");
  return (other ? 3.0 : 8.0) / static_cast<double>(rank);
}
double RsPatterned(const std::string& module, int64_t rank) {
  return Patterned(module, 1) / std::sqrt(static_cast<double>(rank));
}

struct PeftCase {
  std::string name, architecture;
  double (*scale)(const std::string&, int64_t) = Plain;
  Ordered config = Ordered::object();
  bool patterned = false;  // up_proj of every layer, and k_proj of the first, have other ranks
  bool tied = true;
  std::vector<std::string> only = {};  // ends of modules; empty: every linear layer
  bool from_gguf = false;              // the base is given as a GGUF file
};

class PeftMerge : public testing::TestWithParam<PeftCase> {};

std::string Convert(const Result<ModelSource>& source, const std::string& out) {
  EXPECT_TRUE(source.ok()) << (source.ok() ? "" : source.error().message);
  if (!source.ok()) return out;
  ConversionPlan plan;
  plan.types.assign(source->tensors.size(), DType::kF32);
  ThreadPool pool(2);
  const Status written = WriteConverted(*source, plan, FitKernelsFor(Isa::kScalar), pool, out);
  EXPECT_TRUE(written.ok()) << (written.ok() ? "" : written.error().message);
  return out;
}

// The bound is lora_adapter_test's: two ways to sum the same products in float32, through nine
// products in a row; the merged weights are rounded to float32 once more, which is a sum's error
// less.
TEST_P(PeftMerge, LogitsAreThoseOfTheMergedModel) {
  const PeftCase& c = GetParam();
  HuggingFaceFolder folder(c.architecture, c.tied);
  PeftFolder peft(folder);
  for (const auto& [key, value] : c.config.items()) peft.config()[key] = value;
  folder.Write([&](const std::string& name, int64_t rows, int64_t columns, std::span<float>) {
    const std::string module = name.substr(0, name.size() - 7);
    bool wanted = c.only.empty() && module.find("layers.") != std::string::npos;
    for (const std::string& end : c.only) wanted |= module.ends_with(end);
    if (!wanted) return;
    int64_t rank = 4;
    if (c.patterned && module.ends_with("mlp.up_proj")) rank = 7;
    if (c.patterned && module == "model.layers.0.self_attn.k_proj") rank = 2;
    peft.Add(module, rows, columns, rank);
  });
  peft.Write();
  const std::string base_path = Convert(SourceFromHuggingFace(folder.path().string()),
                                        (folder.path() / "base.gguf").string());
  const std::string adapter_path =
      Convert(SourceFromPeftAdapter(peft.path(), c.from_gguf ? base_path : ""),
              (folder.path() / "adapter.gguf").string());
  folder.Write([&](const std::string& name, int64_t, int64_t columns, std::span<float> values) {
    peft.Merge(name, columns, c.scale, values);
  });
  const std::string merged_path = Convert(SourceFromHuggingFace(folder.path().string()),
                                          (folder.path() / "merged.gguf").string());
  const auto base = MappedGguf::Open(base_path), adapter = MappedGguf::Open(adapter_path),
             merged = MappedGguf::Open(merged_path);
  ASSERT_TRUE(base.ok() && adapter.ok() && merged.ok());
  // What llama.cpp's loader reads.
  const GgufFile& file = adapter->file();
  EXPECT_EQ(file.RequireString("general.type").value(), "adapter");
  EXPECT_EQ(file.RequireString("adapter.type").value(), "lora");
  EXPECT_EQ(file.RequireString("general.architecture").value(), c.architecture);
  const std::vector<float> plain = LogitsOf(base->file());
  const std::vector<float> under = LogitsOf(base->file(), &file);
  const std::vector<float> expected = LogitsOf(merged->file());
  double moved = 0, off = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    moved += std::pow(static_cast<double>(plain[i]) - expected[i], 2);
    off += std::pow(static_cast<double>(under[i]) - expected[i], 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  EXPECT_GT(std::sqrt(moved / norm), 0.02) << "the adapter should matter";
  EXPECT_LT(std::sqrt(off / norm), 9e-6);
}

std::vector<PeftCase> PeftCases() {
  std::vector<PeftCase> cases;
  for (const char* architecture : {"llama", "qwen2", "qwen3", "gemma3"})
    cases.push_back({architecture, architecture});
  const Ordered patterns = {
      {"rank_pattern", {{"up_proj", 7}, {"^model.layers.0.self_attn.k_proj", 2}}},
      {"alpha_pattern", {{".*\\.mlp\\.up_proj", 3}}}};
  Ordered both = patterns;
  both["use_rslora"] = true;
  cases.push_back({"rslora", "llama", RsLora, {{"use_rslora", true}}});
  cases.push_back({"patterns", "llama", Patterned, patterns, true});
  cases.push_back({"rslora_patterns", "qwen2", RsPatterned, both, true});
  cases.push_back({"embedding_and_output",
                   "llama",
                   Plain,
                   {},
                   false,
                   false,
                   {"embed_tokens", "lm_head", "q_proj"}});
  cases.push_back({"base_from_gguf", "llama", Plain, {}, false, true, {}, true});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Cases, PeftMerge, testing::ValuesIn(PeftCases()),
                         [](const auto& param) { return param.param.name; });

TEST(PeftErrors, SayWhatCannotBeConverted) {
  HuggingFaceFolder folder("llama");
  folder.Write();
  PeftFolder peft(folder);
  const auto error = [&](const std::string& base = "") {
    const auto source = SourceFromPeftAdapter(peft.path(), base);
    return source.ok() ? std::string() : source.error().message;
  };
  EXPECT_THAT(error(), HasSubstr("adapter_config.json is missing"));
  EXPECT_THAT(SourceFromPeftAdapter(folder.path().string(), "").error().message,
              HasSubstr("`millrace quantize`"));
  const auto width = folder.Int("embedding_length");
  peft.Add("model.layers.0.self_attn.o_proj", width, width, 4);
  peft.Write();
  EXPECT_EQ(error(), "");
  const std::pair<Ordered, const char*> refused[] = {
      {{{"peft_type", "LOHA"}}, "'LOHA'"},
      {{{"use_dora", true}}, "DoRA"},
      {{{"modules_to_save", {"lm_head"}}}, "'modules_to_save'"},
      {{{"trainable_token_indices", {1}}}, "'trainable_token_indices'"},
      {{{"alora_invocation_tokens", {1}}}, "aLoRA"},
      {{{"lora_bias", true}}, "'lora_bias'"},
      {{{"bias", "all"}}, "trained biases"},
      {{{"init_lora_weights", "pissa_niter_4"}}, "pissa"},
      {{{"r", 0}}, "'r' must be"},
      {{{"lora_alpha", 0}}, "'lora_alpha' must be"},
      {{{"rank_pattern", {{"o_proj", 8}}}}, "has ranks 4 and 4, but adapter_config.json says 8"},
      {{{"rank_pattern", {{"o_(proj", 8}}}}, "is no regular expression"},
      {{{"rank_pattern", 8}}, "'rank_pattern' is no object"},
      {{{"base_model_name_or_path", "somebody/model"}}, "give the model's folder or GGUF file"}};
  const Ordered good = peft.config();
  for (const auto& [change, message] : refused) {
    for (const auto& [key, value] : change.items()) peft.config()[key] = value;
    peft.Write();
    EXPECT_THAT(error(), HasSubstr(message)) << change;
    peft.config() = good;
  }
  peft.Write();
  EXPECT_THAT(error("/nowhere"), HasSubstr("/nowhere"));
  const std::pair<const char*, const char*> tensors[] = {
      {"base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector", "DoRA"},
      {"base_model.model.lm_head.modules_to_save.weight", "whole matrix"},
      {"base_model.model.model.embed_tokens.weight", "whole matrix"},
      {"base_model.model.model.layers.0.mlp.up_proj.lora_B.bias", "no half of a LoRA pair"},
      {"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight", "only half"}};
  for (const auto& [name, message] : tensors) {
    PeftFolder other(folder);
    other.AddTensor(name, 4);
    other.Write();
    EXPECT_THAT(error(), HasSubstr(message)) << name;
  }
  const std::pair<const char*, const char*> modules[] = {
      {"model.layers.99.mlp.up_proj", "no matrix of this llama model"},
      {"model.layers.0.mlp.router", "no matrix of this llama model"},
      {"model.layers.0.input_layernorm", "no matrix of this llama model"},
      {"lm_head", "merge the adapter into the model"},
      {"model.layers.0.self_attn.q_proj", "heads need"}};
  for (const auto& [module, message] : modules) {
    PeftFolder other(folder);
    other.Add(module, 3, 3, 4);
    other.Write();
    EXPECT_THAT(error(), HasSubstr(message)) << module;
  }
  fs::remove(fs::path(peft.path()) / "adapter_model.safetensors");
  EXPECT_THAT(error(), HasSubstr("safe_serialization"));
}

}  // namespace
}  // namespace millrace
