// The bit-exactness harness: the same requests alone, batched with random others, with prefill
// chunks of 1, 7, 32 and 512, with forced preemption, with and without the prefix cache (whole
// blocks, parts of blocks, eviction, from disk), with static batching, and on 1 to 4 threads
// give the same logits, compared with ==.
//
// How: a Model that stands between the engine and the transformer asks for the logits of every row,
// and files each row under the tokens of its own sequence up to that row. Whatever run computes the
// same prefix again must produce the same bits. The file is shared by all runs of one set of
// weights.
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
namespace {

using Prefix = std::vector<int32_t>;

// Every row of logits ever seen, by the tokens before and at it.
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
  Speculation speculation = Speculation::kOff;
  int32_t draft = 4;  // tokens, whether they pay or not
};

struct Weights {
  std::string architecture;
  DType type;
  KvType kv_type = KvType::kBf16;
  Isa isa = DetectIsa();
  AttentionKind attention = AttentionKind::kFlash;
};

std::vector<TokenId> RandomPrompt(std::mt19937& random, int32_t length) {
  std::vector<TokenId> prompt;
  for (int32_t i = 0; i < length; ++i)
    prompt.push_back(TokenId(static_cast<int32_t>(random() % 256)));
  return prompt;
}

Request GreedyRequest(std::vector<TokenId> prompt, int32_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  return request;
}

// Between half and all of the variant's longest answer.
int32_t OtherTokens(const Variant& variant, std::mt19937& random) {
  const uint32_t half = variant.other_tokens / 2;
  return static_cast<int32_t>(1 + half + random() % half);
}

struct Outcome {
  std::vector<std::vector<int32_t>> outputs;  // of the studied requests
  int64_t preemptions = 0, hits = 0, evictions = 0, loads = 0;
  int64_t drafted = 0, accepted = 0;
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
    const KvShape shape = (*model)->info().kv_shape;
    auto kv = KvStore::Create(shape, weights.kv_type, variant.blocks);
    EXPECT_TRUE(kv.ok());
    EngineConfig config;
    config.context_length = std::min(1024, variant.blocks * kBlockTokens);
    config.scheduler.max_running = variant.max_running;
    config.scheduler.max_step_tokens = variant.step_tokens;
    config.scheduler.max_chunk = variant.chunk;
    config.scheduler.batching = variant.batching;
    config.prefix_cache = variant.prefix_cache;
    config.disk_use = EngineConfig::DiskUse::kAlways;
    config.speculation.mode = variant.speculation;
    config.speculation.fixed_draft = variant.draft;
    config.speculation.max_draft = kMaxDraft;
    Engine engine(config, std::make_unique<WitnessModel>(std::move(*model), logits_),
                  std::move(*kv), Clock(), OpenDisk(variant, shape), OpenDraft(variant, pool));

    Outcome outcome;
    outcome.outputs.resize(studied.size());
    for (size_t i = 0; i < studied.size(); ++i) {
      const auto keep = [&outcome, i](const Event& event) {
        for (const Sampled& s : event.tokens) outcome.outputs[i].push_back(s.token.value);
        if (event.finish) {
          EXPECT_EQ(event.finish->reason, FinishReason::kLength);
        }
      };
      const auto id = engine.Submit(studied[i], keep);
      EXPECT_TRUE(id.ok()) << id.error().message;
      if (!variant.others) continue;
      for (uint32_t other = 1 + random() % 2; other > 0; --other) {
        const auto length = static_cast<int32_t>(1 + random() % 90);
        EXPECT_TRUE(
            engine
                .Submit(GreedyRequest(RandomPrompt(random, length), OtherTokens(variant, random)),
                        [](const Event&) {})
                .ok());
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
    for (size_t kind = 0; kind < kDrafterKinds; ++kind) {
      outcome.drafted += stats.speculation.drafted[kind];
      outcome.accepted += stats.speculation.accepted[kind];
    }
    return outcome;
  }

  // The model drafts for itself, so that drafts are right unless they are cut.
  std::unique_ptr<DraftModel> OpenDraft(const Variant& variant, ThreadPool& pool) {
    if (variant.speculation == Speculation::kOff) return nullptr;
    TransformerOptions options;
    options.isa = GetParam().isa;
    options.max_positions = 1024;
    const auto file = ParseGguf(bytes_, "tiny.gguf");
    auto model = Transformer::Load(*file, options, pool);
    auto kv = KvStore::Create((*model)->info().kv_shape, GetParam().kv_type, variant.blocks);
    return std::make_unique<DraftModel>(
        DraftModel{.model = std::move(*model), .kv = std::move(*kv), .context_length = 1024});
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

  void SetUp() override {
    TinyModelSpec spec;
    spec.architecture = GetParam().architecture;
    spec.type = GetParam().type;
    spec.width = 256;
    spec.ff_width = 256;
    spec.head_dim = 64;
    bytes_ = MakeTinyModel(spec);
  }

  std::vector<std::byte> bytes_;
  LogitsFile logits_;
};

TEST_P(BitExactness, LogitsAreTheSameBitsHoweverTheyAreComputed) {
  std::mt19937 random(7);
  std::vector<Request> studied;
  for (const int32_t length : {1, 31, 33, 70, 300})
    studied.push_back(GreedyRequest(RandomPrompt(random, length), 6));

  const Outcome alone = Run(studied, {"alone"}, random);
  EXPECT_EQ(alone.preemptions, 0);
  const int64_t rows = static_cast<int64_t>(logits_.rows.size());
  EXPECT_EQ(rows, 1 + 31 + 33 + 70 + 300 + 5 * 5);

  const Variant variants[] = {
      {"chunks of 1", 1, 1, 1},
      {"chunks of 7, two threads", 2, 7, 1},
      {"chunks of 32", 1, 32, 1},
      {"chunks of 512, three threads", 3, 512, 1},
      {"batched with others", 1, 512, 8, 64, 64, true},
      {"batched with others, chunks of 7, two threads", 2, 7, 8, 40, 64, true},
      {"batched with others, chunks of 32, four threads", 4, 32, 8, 512, 64, true},
      {"forced preemption", 2, 32, 8, 128, 12, true, 100},
  };
  int64_t preemptions = 0;
  for (const Variant& variant : variants) {
    const int64_t compared_before = logits_.compared;
    const Outcome outcome = Run(studied, variant, random);
    EXPECT_EQ(outcome.outputs, alone.outputs) << variant.name;
    EXPECT_EQ(logits_.mismatches, 0) << variant.name;
    EXPECT_GE(logits_.compared - compared_before, rows) << variant.name;
    preemptions += outcome.preemptions;
  }
  EXPECT_GT(preemptions, 0) << "the small pool should have forced a preemption";
}

// Requests that begin alike, in turn and together, with the cache on and off.
TEST_P(BitExactness, LogitsAreTheSameBitsFromAWarmCache) {
  if (GetParam().isa != DetectIsa()) {
    GTEST_SKIP() << "the cache is the same for every instruction set: tested with the best";
  }
  if (kUnderSanitizer && GetParam().architecture == "llama" && GetParam().type != DType::kQ4_K) {
    GTEST_SKIP() << "the cache is the same for every type: one is tested under sanitizers";
  }
  std::mt19937 random(11);
  const std::vector<TokenId> text = RandomPrompt(random, 300);
  std::vector<Request> studied;
  // Beginnings that end within a block and at its border; the same prompt twice.
  for (const int32_t common : {70, 64, 65, 95, 200, 300, 300, 33, 31, 256, 257}) {
    std::vector<TokenId> prompt(text.begin(), text.begin() + common);
    if (common < 300) {
      for (const TokenId token : RandomPrompt(random, 1 + common % 20)) prompt.push_back(token);
    }
    studied.push_back(GreedyRequest(std::move(prompt), 6));
  }
  const Outcome cold = Run(studied, {"cold, one after the other"}, random);
  EXPECT_EQ(cold.hits, 0);

  const Variant variants[] = {
      {"in turn", 1, 512, 1, 512, 64, false, 9, true},
      {"together, chunks of 7, two threads", 2, 7, 8, 40, 64, false, 9, true},
      {"with others", 1, 32, 8, 64, 64, true, 9, true},
      {"evicted and preempted", 2, 32, 8, 128, 12, true, 100, true},
      {"evicted and preempted, chunks of 11", 1, 11, 8, 30, 12, true, 100, true},
      {"off, with others", 1, 64, 8, 128, 64, true, 9, false},
      {"static", 1, 64, 4, 128, 64, true, 9, true, Batching::kStatic},
  };
  Outcome all;
  for (const Variant& variant : variants) {
    const int64_t compared_before = logits_.compared;
    const Outcome outcome = Run(studied, variant, random);
    EXPECT_EQ(outcome.outputs, cold.outputs) << variant.name;
    EXPECT_EQ(logits_.mismatches, 0) << variant.name;
    EXPECT_GT(logits_.compared, compared_before) << variant.name;
    EXPECT_EQ(outcome.hits > 500, variant.prefix_cache) << variant.name << ": " << outcome.hits;
    all.preemptions += outcome.preemptions;
    all.evictions += outcome.evictions;
  }
  EXPECT_GT(all.preemptions, 0);
  EXPECT_GT(all.evictions, 20);

  // One engine leaves its blocks on disk, the next, with little memory, finds them there.
  std::string directory = std::filesystem::temp_directory_path() / "millrace_bit_exact_XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  for (const bool warm : {false, true}) {
    const Variant variant = {"disk",   1, 32, 8, 64, 14, warm, 30, true, Batching::kContinuous,
                             directory};
    const Outcome outcome = Run(studied, variant, random);
    EXPECT_EQ(outcome.outputs, cold.outputs) << "from disk: " << warm;
    EXPECT_EQ(logits_.mismatches, 0) << "from disk: " << warm;
    EXPECT_TRUE(!warm || outcome.loads > 0);
  }
  std::filesystem::remove_all(directory);
}

// Verified as drafts, right and wrong, or decoded one by one.
TEST_P(BitExactness, LogitsAreTheSameBitsWithDrafts) {
  if (GetParam().isa != DetectIsa()) {
    GTEST_SKIP() << "verification is the same for every instruction set: tested with the best";
  }
  std::mt19937 random(13);
  std::vector<Request> studied;
  for (const int32_t length : {1, 31, 33, 70, 300}) {
    std::vector<TokenId> prompt = RandomPrompt(random, length);
    // What is said twice is found by the drafters.
    for (int32_t i = 0; i < length / 2; ++i) prompt.push_back(prompt[static_cast<size_t>(i)]);
    studied.push_back(GreedyRequest(std::move(prompt), 40));
    studied.push_back(studied.back());
    studied.back().sampling.temperature = 0.8f;
    studied.back().sampling.seed = static_cast<uint64_t>(length);
  }
  const Outcome plain = Run(studied, {"plain"}, random);
  using enum Speculation;
  const auto variant = [](const char* name, Speculation mode, int32_t draft) {
    Variant v{name, 2, 32, 8, 128, 128, true, 9, true};
    v.speculation = mode;
    v.draft = draft;
    return v;
  };
  Variant small = variant("evicted and preempted", kAuto, 5);
  small.blocks = 18;
  small.other_tokens = 200;
  const Variant variants[] = {variant("lookup", kLookup, 4), variant("suffix", kSuffix, 9),
                              variant("draft model", kDraft, 3),
                              variant("draft model, 16", kDraft, 16), small};
  Outcome all;
  for (const Variant& v : variants) {
    const int64_t compared_before = logits_.compared;
    const Outcome outcome = Run(studied, v, random);
    EXPECT_EQ(outcome.outputs, plain.outputs) << v.name;
    EXPECT_EQ(logits_.mismatches, 0) << v.name;
    EXPECT_GT(logits_.compared, compared_before) << v.name;
    EXPECT_GT(outcome.drafted, 0) << v.name;
    // Equal models accept everything but what stands behind an answer's end.
    if (v.speculation == kDraft) {
      EXPECT_EQ(outcome.accepted, outcome.drafted) << v.name;
    }
    all.accepted += outcome.accepted;
    all.drafted += outcome.drafted;
    all.preemptions += outcome.preemptions;
  }
  EXPECT_GT(all.accepted, 500);
  EXPECT_GT(all.drafted - all.accepted, 10) << "some drafts should have been wrong";
  EXPECT_GT(all.preemptions, 0);
}

std::vector<Weights> AllWeights() {
  std::vector<Weights> all;
  // Slow under sanitizers: there a float and an integer type, and every architecture, on the best
  // instruction set; the tests of the kernels go through all of them there too.
  for (const DType type : {DType::kF32, DType::kQ8_0, DType::kQ4_K}) {
    if (kUnderSanitizer && type == DType::kQ8_0) continue;  // the architectures below have it
    for (const Isa isa : SupportedIsas()) {
      if (kUnderSanitizer && isa != DetectIsa()) continue;
      all.push_back({"llama", type, KvType::kBf16, isa});
    }
  }
  // Every other type on the best instruction set; batch_exactness_test has all of them on all.
  for (const DType type : WeightMatrix::SupportedTypes()) {
    const bool above = type == DType::kF32 || type == DType::kQ8_0 || type == DType::kQ4_K;
    if (!kUnderSanitizer && !above) all.push_back({"llama", type});
  }
  for (const char* architecture : {"qwen2", "qwen3", "gemma3"})
    all.push_back({architecture, DType::kQ8_0, KvType::kF32});
  all.push_back({"llama", DType::kQ8_0, KvType::kF32, DetectIsa(), AttentionKind::kStandard});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Weights, BitExactness, testing::ValuesIn(AllWeights()),
                         [](const auto& param) {
                           const Weights& w = param.param;
                           return w.architecture + "_" + std::string(NameOf(w.type)) + "_" +
                                  std::string(NameOf(w.kv_type)) + "_" +
                                  std::string(NameOf(w.isa)) +
                                  (w.attention == AttentionKind::kFlash ? "_flash" : "_standard");
                         });

}  // namespace
}  // namespace millrace
