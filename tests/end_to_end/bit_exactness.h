// What the tests of bit-exactness share: requests run under variants of the engine, and every row
// of logits compared, with ==, with what other variants computed.
//
// How: a Model that stands between the engine and the transformer asks for the logits of every row,
// and files each row under its adapter and the tokens of its own sequence up to that row. Whatever
// run computes the same prefix again must produce the same bits. The file is shared by all runs of
// one set of weights.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <random>

#include "base/sanitizer_for_test.h"
#include "engine/engine.h"
#include "gguf/gguf.h"
#include "model/transformer.h"
#include "tests/tiny_model.h"

namespace millrace {

using Prefix = std::vector<int32_t>;

// Every row of logits ever seen, by the tokens before and at it; under an adapter, behind a number
// of its own that is no token.
struct LogitsFile {
  std::map<Prefix, std::vector<float>> rows;
  int64_t compared = 0;
  int64_t mismatches = 0;

  void Check(const Prefix& prefix, std::span<const float> row) {
    const auto [at, is_new] = rows.try_emplace(prefix, row.begin(), row.end());
    if (is_new) return;
    ++compared;
    if (std::memcmp(at->second.data(), row.data(), row.size_bytes()) != 0) ++mismatches;
  }
};

class WitnessModel : public Model {
 public:
  WitnessModel(std::unique_ptr<Transformer> model, LogitsFile& file)
      : model_(std::move(model)), file_(file) {}

  const ModelInfo& info() const override { return model_->info(); }

  MatrixView<const float> Forward(const Batch& batch, KvStore& kv) override {
    Batch all_rows = batch;
    for (BatchSequence& s : all_rows.sequences)
      s.logit_rows = static_cast<int32_t>(s.tokens.size());
    const MatrixView<const float> logits = model_->Forward(all_rows, kv);
    const auto vocab = static_cast<size_t>(logits.columns);
    asked_.clear();
    int64_t row = 0;
    for (const BatchSequence& s : batch.sequences) {
      // The engine's batches are pieces of the requests' own tokens, so what stands before a piece
      // is what the sequence should have in its blocks, whoever computed it.
      Prefix prefix;
      if (s.adapter) prefix.push_back(-1 - s.adapter->value);
      for (const TokenId* token = s.tokens.data() - s.first_position; token != s.tokens.data();
           ++token) {
        prefix.push_back(token->value);
      }
      for (size_t i = 0; i < s.tokens.size(); ++i, ++row) {
        prefix.push_back(s.tokens[i].value);
        const std::span<const float> values(logits.row(row), vocab);
        file_.Check(prefix, values);
        if (i + static_cast<size_t>(s.logit_rows) >= s.tokens.size())
          asked_.insert(asked_.end(), values.begin(), values.end());
      }
    }
    return {asked_.data(), static_cast<int64_t>(asked_.size() / vocab), logits.columns,
            logits.columns};
  }

 private:
  std::unique_ptr<Transformer> model_;
  LogitsFile& file_;
  std::vector<float> asked_;
};

struct Variant {
  std::string name;
  int threads = 1;
  int32_t chunk = 512;
  int32_t max_running = 1;
  int32_t step_tokens = 512;
  int32_t blocks = 64;  // few: preemption is forced
  bool others = false;
  uint32_t other_tokens = 9;  // the others' longest answer: long ones outgrow a small pool
  bool prefix_cache = false;
  Batching batching = Batching::kContinuous;
  std::string disk_directory = {};  // of the prefix cache's disk tier
  int32_t swap_blocks = 0;          // for copies of preempted requests' blocks
  KvLayout layout = KvLayout::kPaged;
  bool forks = false;  // neighbours with the same prompt are submitted as forks
  Speculation speculation = Speculation::kOff;
  int32_t draft = 4;  // tokens, whether they pay or not
  // The draft model has the target's weights, so that it is always right, or others.
  bool other_draft = false;
};

// Small chunks among others, on a warm cache: what runs with drafts begin from.
inline Variant AmongOthers() {
  return {.name = {},
          .threads = 2,
          .chunk = 32,
          .max_running = 8,
          .step_tokens = 128,
          .others = true,
          .prefix_cache = true};
}

struct Weights {
  std::string architecture;
  DType type;
  KvType kv_type = KvType::kBf16;
  Isa isa = DetectIsa();
  AttentionKind attention = AttentionKind::kFlash;
};

inline std::vector<TokenId> RandomPrompt(std::mt19937& random, int32_t length) {
  std::vector<TokenId> prompt;
  for (int32_t i = 0; i < length; ++i)
    prompt.push_back(TokenId(static_cast<int32_t>(random() % 256)));
  return prompt;
}

inline Request GreedyRequest(std::vector<TokenId> prompt, int32_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  return request;
}

// Between half and all of the variant's longest answer.
inline int32_t OtherTokens(const Variant& variant, std::mt19937& random) {
  const uint32_t half = variant.other_tokens / 2;
  return static_cast<int32_t>(1 + half + random() % half);
}

struct Outcome {
  std::vector<std::vector<int32_t>> outputs;  // of the studied requests
  int64_t preemptions = 0, hits = 0, evictions = 0, loads = 0, compactions = 0, computed = 0;
  int64_t swapped_in = 0, drafted = 0, accepted = 0;
};

class BitExactness : public testing::TestWithParam<Weights> {
 protected:
  // Runs the studied requests under a variant; `others` arrive among them at random.
  Outcome Run(const std::vector<Request>& studied, const Variant& variant, std::mt19937& random) {
    const Weights& weights = GetParam();
    ThreadPool pool(variant.threads);
    TransformerOptions options;
    options.isa = weights.isa;
    options.attention = weights.attention;
    options.max_positions = 1024;
    auto file = ParseGguf(bytes_, "tiny.gguf");
    EXPECT_TRUE(file.ok());
    auto model = Transformer::Load(*file, options, pool);
    EXPECT_TRUE(model.ok()) << model.error().message;
    for (const std::vector<std::byte>& adapter : adapters_) {
      const std::string name = "adapter-" + std::to_string((*model)->info().adapters.size());
      const auto adapter_file = ParseGguf(adapter, name);
      EXPECT_TRUE(adapter_file.ok());
      const Status added = (*model)->AddAdapter({name, name}, *adapter_file, 1.0f);
      EXPECT_TRUE(added.ok()) << added.error().message;
    }
    const KvShape shape = (*model)->info().kv_shape;
    auto kv = KvStore::Create(shape, weights.kv_type, variant.blocks);
    EXPECT_TRUE(kv.ok());
    EngineConfig config;
    config.context_length = std::min(1024, variant.blocks * kBlockTokens);
    config.scheduler.max_running = variant.max_running;
    config.scheduler.max_step_tokens = variant.step_tokens;
    config.scheduler.max_chunk = variant.chunk;
    config.scheduler.batching = variant.batching;
    config.scheduler.layout = variant.layout;
    config.scheduler.swap_use = SchedulerConfig::SwapUse::kAlways;
    config.prefix_cache = variant.prefix_cache;
    config.disk_use = EngineConfig::DiskUse::kAlways;
    config.speculation.mode = variant.speculation;
    config.speculation.fixed_draft = variant.draft;
    config.speculation.max_draft = kMaxDraft;
    Engine engine(config, std::make_unique<WitnessModel>(std::move(*model), logits_),
                  std::move(*kv), Clock(), OpenDisk(variant, shape), MakeSwap(variant, shape),
                  OpenDraft(variant, pool));

    Outcome outcome;
    outcome.outputs.resize(studied.size());
    for (size_t i = 0; i < studied.size();) {
      const Request& first = studied[i];
      std::vector<Engine::Fork> forks;
      do {
        const auto keep = [&outcome, i](const Event& event) {
          for (const Sampled& s : event.tokens) outcome.outputs[i].push_back(s.token.value);
          if (event.finish) {
            EXPECT_EQ(event.finish->reason, FinishReason::kLength);
          }
        };
        forks.push_back({studied[i].sampling, keep});
        ++i;
      } while (variant.forks && i < studied.size() && studied[i].prompt == first.prompt &&
               studied[i].adapter == first.adapter);
      const auto ids = engine.SubmitForks(first, std::move(forks));
      EXPECT_TRUE(ids.ok()) << ids.error().message;
      if (!variant.others) continue;
      for (uint32_t other = 1 + random() % 2; other > 0; --other) {
        const auto length = static_cast<int32_t>(1 + random() % 90);
        Request request = GreedyRequest(RandomPrompt(random, length), OtherTokens(variant, random));
        request.adapter = AnyAdapter(random);
        EXPECT_TRUE(engine.Submit(std::move(request), [](const Event&) {}).ok());
      }
      for (uint32_t steps = random() % 3; steps > 0; --steps) engine.Step();
    }
    while (engine.Step()) {
    }
    const EngineStats stats = engine.stats();
    outcome.preemptions = stats.preemptions;
    outcome.hits = stats.prefix_hits;
    outcome.evictions = stats.prefix_evictions;
    outcome.loads = stats.disk.loaded;
    outcome.swapped_in = stats.swapped_in;
    outcome.compactions = stats.kv.compactions;
    outcome.computed = stats.tokens_computed;
    for (size_t kind = 0; kind < kDrafterKinds; ++kind) {
      outcome.drafted += stats.speculation.drafted[kind];
      outcome.accepted += stats.speculation.accepted[kind];
    }
    return outcome;
  }

  // None where the variant names no directory.
  static std::unique_ptr<DiskTier> OpenDisk(const Variant& variant, const KvShape& shape) {
    if (variant.disk_directory.empty()) return nullptr;
    auto disk = DiskTier::Open({.directory = variant.disk_directory,
                                .identity = "tiny",
                                .block_bytes = KvStore::BlockBytes(shape, GetParam().kv_type)});
    EXPECT_TRUE(disk.ok());
    return std::move(disk).value();
  }

  static std::optional<KvStore> MakeSwap(const Variant& variant, const KvShape& shape) {
    if (variant.swap_blocks == 0) return std::nullopt;
    auto swap = KvStore::Create(shape, GetParam().kv_type, variant.swap_blocks);
    EXPECT_TRUE(swap.ok());
    return std::move(swap).value();
  }

  std::unique_ptr<DraftModel> OpenDraft(const Variant& variant, ThreadPool& pool) {
    if (variant.speculation == Speculation::kOff) return nullptr;
    TransformerOptions options;
    options.isa = GetParam().isa;
    options.max_positions = 1024;
    const std::vector<std::byte> bytes = variant.other_draft ? MakeTinyModel(OtherSpec()) : bytes_;
    const auto file = ParseGguf(bytes, "tiny.gguf");
    auto model = Transformer::Load(*file, options, pool);
    EXPECT_TRUE(model.ok()) << model.error().message;
    auto kv = KvStore::Create((*model)->info().kv_shape, GetParam().kv_type, variant.blocks);
    EXPECT_TRUE(kv.ok());
    return std::make_unique<DraftModel>(
        DraftModel{.model = std::move(*model), .kv = std::move(*kv), .context_length = 1024});
  }

  // One of those there are, or none; without any, `random` is left as it is.
  std::optional<AdapterId> AnyAdapter(std::mt19937& random) const {
    if (adapters_.empty()) return std::nullopt;
    const auto adapter = static_cast<int32_t>(random() % (adapters_.size() + 1));
    return adapter == 0 ? std::nullopt : std::optional(AdapterId(adapter - 1));
  }

  void SetUp() override { bytes_ = MakeTinyModel(Spec()); }

  static TinyModelSpec Spec() {
    TinyModelSpec spec;
    spec.architecture = GetParam().architecture;
    spec.type = GetParam().type;
    spec.width = 256;
    spec.ff_width = 256;
    spec.head_dim = 64;
    return spec;
  }

  // With the tied embedding of the others the last token is the likeliest next one, whatever the
  // weights are.
  static TinyModelSpec OtherSpec() {
    TinyModelSpec spec = Spec();
    spec.seed = 2;
    spec.tied = false;
    return spec;
  }

  std::vector<std::byte> bytes_;
  std::vector<std::vector<std::byte>> adapters_;  // that Run gives the model
  LogitsFile logits_;
};

inline std::string NameOf(const testing::TestParamInfo<Weights>& param) {
  const Weights& w = param.param;
  return w.architecture + "_" + std::string(NameOf(w.type)) + "_" + std::string(NameOf(w.kv_type)) +
         "_" + std::string(NameOf(w.isa)) +
         (w.attention == AttentionKind::kFlash ? "_flash" : "_standard");
}

}  // namespace millrace
