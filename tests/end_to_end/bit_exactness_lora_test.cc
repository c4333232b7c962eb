// Requests under adapters have the logits, bit for bit, that they have alone: batched with others
// under other adapters and under none, in chunks, preempted, swapped, from a warm cache, from disk,
// in contiguous memory, with drafts, on 1 to 4 threads. Those under none have the logits of a
// server without adapters. The same prompt stands under all adapters, so a block that two of them
// shared would show.
#include <algorithm>
#include <cstring>

#include "tests/end_to_end/bit_exactness.h"
#include "tests/tiny_adapter.h"

namespace millrace {
namespace {

// Ranks that fill a panel, part of one and more than one; every float type; all layers and some.
std::vector<std::vector<std::byte>> MakeAdapters(const std::vector<std::byte>& model) {
  const auto file = ParseGguf(model, "tiny.gguf");
  CHECK(file.ok());
  return {MakeTinyAdapter(*file, {.rank = 16, .type = DType::kF16, .seed = 1}),
          MakeTinyAdapter(*file, {.rank = 5, .type = DType::kF32, .seed = 2}),
          MakeTinyAdapter(*file, {.rank = 33,
                                  .alpha = 33,
                                  .type = DType::kBF16,
                                  .seed = 3,
                                  .only = {"attn_q.weight", "attn_v.weight", "ffn_down.weight",
                                           "token_embd.weight"}})};
}

class LoraExactness : public BitExactness {
 protected:
  // Not tied, so that what comes next depends on the layers, and so on the adapter.
  void SetUp() override { bytes_ = MakeTinyModel(OtherSpec()); }

  // The same prompts under every adapter and under none.
  static std::vector<Request> Studied(std::mt19937& random, std::initializer_list<int32_t> lengths,
                                      int32_t max_tokens) {
    std::vector<Request> requests;
    for (const int32_t length : lengths) {
      const std::vector<TokenId> prompt = RandomPrompt(random, length);
      for (int32_t adapter = -1; adapter < 3; ++adapter) {
        requests.push_back(GreedyRequest(prompt, max_tokens));
        if (adapter >= 0) requests.back().adapter = AdapterId(adapter);
      }
    }
    return requests;
  }
  void Check(const std::vector<Request>& studied, const Outcome& alone, const Variant& variant,
             std::mt19937& random, Outcome& all) {
    const int64_t compared_before = logits_.compared;
    const Outcome outcome = Run(studied, variant, random);
    EXPECT_EQ(outcome.outputs, alone.outputs) << variant.name;
    EXPECT_EQ(logits_.mismatches, 0) << variant.name;
    EXPECT_GT(logits_.compared, compared_before) << variant.name;
    all.preemptions += outcome.preemptions;
    all.swapped_in += outcome.swapped_in;
    all.hits += outcome.hits;
    all.loads += outcome.loads;
    all.drafted += outcome.drafted;
    all.accepted += outcome.accepted;
  }
};

TEST_P(LoraExactness, LogitsAreTheSameBitsHoweverTheyAreComputed) {
  std::mt19937 random(21);
  const std::vector<Request> studied = Studied(random, {1, 33, 70, 200}, 6);
  // Without any adapter first: its rows are what those under none are compared with.
  std::vector<Request> of_base;
  for (const Request& request : studied) {
    if (!request.adapter) of_base.push_back(request);
  }
  const Outcome base = Run(of_base, {"no adapters"}, random);
  adapters_ = MakeAdapters(bytes_);
  const int64_t base_rows = 1 + 33 + 70 + 200 + 4 * 5;
  EXPECT_EQ(static_cast<int64_t>(logits_.rows.size()), base_rows);
  const Outcome alone = Run(studied, {"alone"}, random);
  EXPECT_EQ(static_cast<int64_t>(logits_.rows.size()), 4 * base_rows);
  EXPECT_EQ(logits_.compared, base_rows);
  EXPECT_EQ(logits_.mismatches, 0);
  for (size_t i = 0; i < of_base.size(); ++i) {
    EXPECT_EQ(alone.outputs[4 * i], base.outputs[i]);
    Prefix prompt;
    for (const TokenId token : of_base[i].prompt) prompt.push_back(token.value);
    for (int32_t adapter = 0; adapter < 3; ++adapter) {
      Prefix under = prompt;
      under.insert(under.begin(), -1 - adapter);
      EXPECT_NE(logits_.rows.at(under), logits_.rows.at(prompt)) << "the adapter should matter";
    }
  }

  const Variant common = {.name = {}, .threads = 2, .chunk = 32, .max_running = 8, .others = true};
  const auto variant = [&common](const char* name, auto change) {
    Variant v = common;
    v.name = name;
    change(v);
    return v;
  };
  Outcome all;
  for (const Variant& v : {
           variant("chunks of 1",
                   [](Variant& v) {
                     v = {"chunks of 1", 1, 1, 1};
                   }),
           variant("batched, one thread", [](Variant& v) { v.threads = 1, v.max_running = 16; }),
           variant("chunks of 7", [](Variant& v) { v.chunk = 7, v.step_tokens = 40; }),
           variant("four threads", [](Variant& v) { v.threads = 4, v.chunk = 512; }),
           variant("preempted", [](Variant& v) { v.blocks = 12, v.other_tokens = 100; }),
           variant("swapped",
                   [](Variant& v) { v.blocks = 12, v.other_tokens = 100, v.swap_blocks = 12; }),
           variant("static", [](Variant& v) { v.batching = Batching::kStatic; }),
           variant("contiguous",
                   [](Variant& v) { v.blocks = 14, v.layout = KvLayout::kContiguous; }),
           variant("warm", [](Variant& v) { v.prefix_cache = true, v.threads = 3; }),
           variant("warm and evicted",
                   [](Variant& v) { v.prefix_cache = true, v.blocks = 12, v.other_tokens = 100; }),
       }) {
    Check(studied, alone, v, random, all);
  }
  EXPECT_GT(all.preemptions, 0);
  EXPECT_GT(all.swapped_in, 0);
}

// In turn, so that each could find what the one before left.
TEST_P(LoraExactness, TheSamePromptUnderTwoAdaptersSharesNoBlocks) {
  std::mt19937 random(22);
  adapters_ = MakeAdapters(bytes_);
  const std::vector<Request> studied = Studied(random, {200}, 4);
  const Outcome alone = Run(studied, {"alone"}, random);
  Outcome once, twice, disk;
  Check(studied, alone, {.name = "in turn", .prefix_cache = true}, random, once);
  EXPECT_EQ(once.hits, 0);
  std::vector<Request> again = studied;
  again.insert(again.end(), studied.begin(), studied.end());
  Outcome both = alone;
  both.outputs.insert(both.outputs.end(), alone.outputs.begin(), alone.outputs.end());
  Check(again, both, {.name = "twice", .prefix_cache = true}, random, twice);
  EXPECT_EQ(twice.hits, 4 * 199);

  std::string directory = std::filesystem::temp_directory_path() / "millrace_lora_exact_XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  const Variant on_disk = {.name = "disk", .prefix_cache = true, .disk_directory = directory};
  Check(studied, alone, on_disk, random, disk);
  EXPECT_EQ(disk.loads, 0);
  Check(studied, alone, on_disk, random, disk);
  EXPECT_EQ(disk.loads, 4 * 6);
  std::filesystem::remove_all(directory);
}

// The draft model and the drafters know nothing of adapters; the adapted model verifies.
TEST_P(LoraExactness, LogitsAreTheSameBitsWithDrafts) {
  std::mt19937 random(23);
  adapters_ = MakeAdapters(bytes_);
  std::vector<Request> studied = Studied(random, {33, 120}, 30);
  for (size_t i = 0; i < studied.size(); i += 3) {
    studied[i].sampling.temperature = 0.8f;
    studied[i].sampling.seed = i;
  }
  const Outcome alone = Run(studied, {"alone"}, random);
  Variant variant = AmongOthers();
  Outcome all;
  for (const Speculation mode : {Speculation::kSuffix, Speculation::kDraft, Speculation::kAuto}) {
    variant.name = "drafts " + std::to_string(static_cast<int>(mode));
    variant.speculation = mode;
    Check(studied, alone, variant, random, all);
  }
  EXPECT_GT(all.accepted, 100);
  EXPECT_GT(all.drafted, all.accepted);
}

std::vector<Weights> LoraWeights() {
  std::vector<Weights> all;
  for (const Isa isa : SupportedIsas()) {
    if (kUnderSanitizer && isa != DetectIsa()) continue;
    all.push_back({"llama", DType::kQ4_K, KvType::kBf16, isa});
  }
  for (const char* architecture : {"qwen2", "qwen3", "gemma3"})
    all.push_back({architecture, DType::kQ8_0, KvType::kQ8_0});
  if (kUnderSanitizer) return all;
  for (const DType type : {DType::kF32, DType::kF16, DType::kQ4_0, DType::kQ6_K})
    all.push_back({"llama", type});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Weights, LoraExactness, testing::ValuesIn(LoraWeights()),
                         [](const auto& param) { return NameOf(param); });

// Every number of rows in a batch, those of three adapters and of none one after the other and
// mixed in every way, on every instruction set; == with each row alone.
constexpr int32_t kRows = 70;

class LoraRows : public testing::TestWithParam<Isa> {
 protected:
  struct Machine {
    explicit Machine(int threads) : pool(threads) {}
    ThreadPool pool;
    std::unique_ptr<Transformer> model;
    std::unique_ptr<KvStore> kv;  // the sequence under each adapter, one after the other
  };
  void SetUp() override {
    TinyModelSpec spec;
    spec.type = DType::kQ8_0;
    spec.ff_width = 256;
    spec.tied = false;
    const std::vector<std::byte> bytes = MakeTinyModel(spec);
    std::vector<std::vector<std::byte>> adapters = MakeAdapters(bytes);
    const auto file = ParseGguf(bytes, "tiny.gguf");
    ASSERT_TRUE(file.ok());
    adapters[1] = MakeTinyAdapter(*file, {.rank = 3, .only = {"ffn", "output.weight"}});
    for (int threads = 1; threads <= 4; ++threads) {
      Machine& machine = *machines_.emplace_back(std::make_unique<Machine>(threads));
      TransformerOptions options;
      options.isa = GetParam();
      options.max_positions = kRows;
      auto model = Transformer::Load(*file, options, machine.pool);
      ASSERT_TRUE(model.ok());
      machine.model = *std::move(model);
      for (const auto& adapter : adapters) {
        const auto parsed = ParseGguf(adapter, "adapter.gguf");
        ASSERT_TRUE(machine.model->AddAdapter({"any", "any"}, *parsed, 1.0f).ok());
      }
      auto kv =
          KvStore::Create(machine.model->info().kv_shape, KvType::kBf16, kUnder * BlocksFor(kRows));
      ASSERT_TRUE(kv.ok());
      machine.kv = std::make_unique<KvStore>(*std::move(kv));
    }
    std::mt19937 random(3);
    tokens_ = RandomPrompt(random, kRows);
    for (int32_t b = 0; b < kUnder * BlocksFor(kRows); ++b) table_.push_back(BlockId(b));
    for (const auto& machine : machines_) {
      for (int under = 0; under < kUnder; ++under) {
        for (int32_t i = 0; i < kRows; ++i) {
          const auto rows = Forward(*machine, {{Piece(under, i, 1, 1)}});
          if (machine == machines_.front()) alone_[under].push_back(rows[0]);
          ASSERT_TRUE(Same(rows[0], under, i)) << "alone, under " << under;
        }
      }
    }
  }

  static constexpr int kUnder = 4;  // three adapters, and none as the first
  BatchSequence Piece(int under, int32_t first, int32_t count, int32_t wanted) const {
    return {.tokens =
                std::span(tokens_).subspan(static_cast<size_t>(first), static_cast<size_t>(count)),
            .first_position = first,
            .block_table = std::span(table_).subspan(static_cast<size_t>(under * BlocksFor(kRows)),
                                                     static_cast<size_t>(BlocksFor(kRows))),
            .logit_rows = wanted,
            .adapter = under == 0 ? std::nullopt : std::optional(AdapterId(under - 1))};
  }
  static std::vector<std::vector<float>> Forward(Machine& machine, const Batch& batch) {
    const MatrixView<const float> logits = machine.model->Forward(batch, *machine.kv);
    std::vector<std::vector<float>> rows;
    for (int64_t i = 0; i < logits.rows; ++i)
      rows.emplace_back(logits.row(i), logits.row(i) + logits.columns);
    return rows;
  }
  bool Same(const std::vector<float>& row, int under, int32_t position) const {
    const std::vector<float>& alone = alone_[under][static_cast<size_t>(position)];
    return std::memcmp(row.data(), alone.data(), row.size() * sizeof(float)) == 0;
  }
  void Check(Machine& machine, const Batch& batch) const {
    const auto rows = Forward(machine, batch);
    size_t row = 0;
    for (const BatchSequence& s : batch.sequences) {
      const int under = s.adapter ? s.adapter->value + 1 : 0;
      const auto end = s.first_position + static_cast<int32_t>(s.tokens.size());
      for (int32_t p = end - s.logit_rows; p < end; ++p, ++row)
        ASSERT_TRUE(Same(rows.at(row), under, p)) << "position " << p << " under " << under;
    }
    ASSERT_EQ(row, rows.size());
  }

  std::vector<std::unique_ptr<Machine>> machines_;  // of 1, 2, ... threads
  std::vector<TokenId> tokens_;
  std::vector<BlockId> table_;
  std::vector<std::vector<float>> alone_[kUnder];
};

TEST_P(LoraRows, EveryNumberOfRows) {
  std::mt19937 random(5);
  const int32_t step = GetParam() == Isa::kScalar || kUnderSanitizer ? 9 : 1;
  for (int32_t m = 1; m <= kRows; m += step) {
    Machine& machine = *machines_[static_cast<size_t>(m % 4)];
    SCOPED_TRACE(std::to_string(m) + " rows, " + std::to_string(1 + m % 4) + " threads");
    // One sequence's prefill under each, all together, and with some of the logits.
    Batch all;
    for (int under = 0; under < kUnder; ++under) {
      ASSERT_NO_FATAL_FAILURE(Check(machine, {{Piece(under, 0, m, m)}}));
      all.sequences.push_back(Piece(under, 0, m, static_cast<int32_t>(random() % (m + 1u))));
    }
    std::shuffle(all.sequences.begin(), all.sequences.end(), random);
    ASSERT_NO_FATAL_FAILURE(Check(machine, all));
    // M that decode one token each, in any order.
    Batch decode;
    for (int32_t i = 0; i < m; ++i)
      decode.sequences.push_back(Piece(static_cast<int>(random() % kUnder), i, 1, 1));
    ASSERT_NO_FATAL_FAILURE(Check(machine, decode));
    std::shuffle(decode.sequences.begin(), decode.sequences.end(), random);
    ASSERT_NO_FATAL_FAILURE(Check(machine, decode));
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, LoraRows, testing::ValuesIn(SupportedIsas()),
                         [](const auto& param) { return std::string(NameOf(param.param)); });

}  // namespace
}  // namespace millrace
