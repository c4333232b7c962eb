// What speculation gains: the same prompts with each of several modes in turn, in one run, on the
// demo model or on the demo model deepened to a realistic price.
//
//   speculation_bench --prompts prompts.jsonl --deepen 90 --streams 1 --modes off,auto,draft
//
// Each round takes prompts that no round had before (so that recent outputs do not hold the
// answers) and gives them to every mode, in an order that changes from round to round. Their
// prefill is done before the clock starts, by a request of one token: the prefix cache has it.
// Rounds of warm-up come first: memory is touched, prices and acceptance are learnt. Prints tokens
// per second of each mode, its ratio to the first mode (median of the rounds), and how many answers
// differ from the first mode's.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "command_line.h"
#include "embedded_model.h"
#include "lab/statistics.h"
#include "model/deepened_model.h"
#include "model_loading.h"

namespace millrace {
namespace {

struct Options {
  std::string prompts;
  int32_t deepen = 1;
  int32_t streams = 1;
  int32_t per_round = 8;
  int32_t rounds = 8;
  int32_t warm_up = 1;
  int32_t max_tokens = 48;
  double temperature = 0;
  std::vector<std::string> modes = {"off", "auto"};
  int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  int32_t force = 0;  // tokens drafted whether they pay or not; 0: as they pay
  bool random_arrival = false;
  bool victims = false;
  bool each_round = false;
};

// One set of weights for several engines, which take turns.
class SharedModel : public Model {
 public:
  explicit SharedModel(std::shared_ptr<Transformer> model) : model_(std::move(model)) {}
  const ModelInfo& info() const override { return model_->info(); }
  MatrixView<const float> Forward(const Batch& batch, KvStore& kv) override {
    return model_->Forward(batch, kv);
  }

 private:
  std::shared_ptr<Transformer> model_;
};

struct Answers {
  std::vector<std::vector<int32_t>> tokens;
  int64_t count = 0;
  double seconds = 0;
  double first_decode_seconds = 0;  // of the first request alone: how long it took per token
  int64_t drafted = 0, accepted = 0;
  double saved = 0;

  double rate() const { return static_cast<double>(count) / seconds; }
};

struct Setup {
  std::unique_ptr<ThreadPool> pool;
  std::vector<std::byte> deepened;
  std::shared_ptr<Transformer> target, draft;
  std::unique_ptr<Tokenizer> tokenizer;
};

Result<Setup> Load(const Options& options) {
  Setup setup;
  setup.pool = std::make_unique<ThreadPool>(options.threads);
  ASSIGN_OR_RETURN(const GgufFile source, ParseGguf(EmbeddedTarget(), "embedded"));
  ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::FromGguf(source));
  setup.tokenizer = std::make_unique<Tokenizer>(std::move(tokenizer));
  TransformerOptions transformer;
  ASSIGN_OR_RETURN(transformer.isa, ChooseIsa(std::nullopt));
  transformer.max_positions = 2048;
  GgufWriter writer;
  RETURN_IF_ERROR(AddDeepenedModel(source, options.deepen, writer));
  setup.deepened = writer.Serialize();
  ASSIGN_OR_RETURN(const GgufFile file, ParseGguf(setup.deepened, "deepened"));
  ASSIGN_OR_RETURN(setup.target, Transformer::Load(file, transformer, *setup.pool));
  setup.deepened = {};
  ASSIGN_OR_RETURN(const GgufFile draft, ParseGguf(EmbeddedDraft(), "draft"));
  ASSIGN_OR_RETURN(setup.draft, Transformer::Load(draft, transformer, *setup.pool));
  return setup;
}

// What the system takes to hand out memory is a start's cost, once; it is not measured here.
Result<KvStore> TouchedKv(const KvShape& shape, int32_t blocks) {
  ASSIGN_OR_RETURN(KvStore kv, KvStore::Create(shape, KvType::kBf16, blocks));
  for (int32_t i = 0; i < blocks; ++i) std::ranges::fill(kv.BlockData(BlockId(i)), std::byte{0});
  return kv;
}

Result<std::unique_ptr<Engine>> MakeEngine(const Setup& setup, const Options& options,
                                           const std::string& mode) {
  // Room for the prompts of a round, which the prefix cache keeps, and a little more.
  constexpr int32_t kBlocksPerPrompt = 12, kMore = 32;
  const int32_t prompts = std::max(options.per_round, options.victims ? 2 * options.streams : 0);
  const int32_t blocks = prompts * kBlocksPerPrompt + kMore;
  EngineConfig config;
  config.context_length = std::min(2048, blocks * kBlockTokens);
  config.scheduler.max_running = options.streams;
  config.max_queued_requests = 1 << 20;
  config.max_queued_tokens = int64_t{1} << 40;
  config.speculation.max_draft = 12;
  config.speculation.measure_at_start = true;
  if (options.force > 0) config.speculation.fixed_draft = options.force;
  ASSIGN_OR_RETURN(config.speculation.mode, ParseSpeculation(mode));
  ASSIGN_OR_RETURN(KvStore kv, TouchedKv(setup.target->info().kv_shape, blocks));
  ASSIGN_OR_RETURN(KvStore draft_kv, TouchedKv(setup.draft->info().kv_shape, blocks));
  auto draft = std::make_unique<DraftModel>(
      DraftModel{.model = std::make_unique<SharedModel>(setup.draft),
                 .kv = std::move(draft_kv),
                 .context_length = std::min(2048, setup.draft->info().context_length)});
  return std::make_unique<Engine>(config, std::make_unique<SharedModel>(setup.target),
                                  std::move(kv), Clock(), nullptr, std::nullopt, std::move(draft));
}

Request MakeRequest(const Setup& setup, const Options& options, const std::vector<TokenId>& prompt,
                    size_t number) {
  Request request;
  request.prompt = prompt;
  request.max_tokens = options.max_tokens;
  request.sampling.temperature = static_cast<float>(options.temperature);
  request.sampling.seed = number;
  const auto ends = setup.tokenizer->end_of_generation();
  request.stop_tokens.assign(ends.begin(), ends.end());
  return request;
}

Result<Answers> Ask(Engine& engine, const std::vector<Request>& requests, bool random_arrival) {
  for (Request first : requests) {
    first.max_tokens = 1;
    ASSIGN_OR_RETURN([[maybe_unused]] const RequestId id, engine.Submit(first, {}));
  }
  while (engine.Step()) {
  }
  // Shared: an engine that ends early calls the sinks later.
  const auto kept = std::make_shared<Answers>();
  Answers& answers = *kept;
  answers.tokens.resize(requests.size());
  std::mt19937 random(requests.size());
  const Clock clock;
  const TimePoint start = clock.Now();
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto sink = [kept, i](const Event& event) {
      for (const Sampled& s : event.tokens) kept->tokens[i].push_back(s.token.value);
      kept->count += static_cast<int64_t>(event.tokens.size());
      if (!event.finish) return;
      const RequestTimings& t = event.finish->timings;
      kept->drafted += t.drafted_tokens;
      kept->accepted += t.accepted_tokens;
      kept->saved += Seconds(t.speculation_saved);
      if (i == 0) kept->first_decode_seconds = Seconds(t.decode) / std::max(t.output_tokens, 1);
    };
    ASSIGN_OR_RETURN([[maybe_unused]] const RequestId id, engine.Submit(requests[i], sink));
    for (uint32_t steps = random_arrival ? random() % 6 : 0; steps > 0; --steps) engine.Step();
  }
  while (engine.Step()) {
  }
  answers.seconds = Seconds(clock.Now() - start);
  return answers;
}

Result<std::vector<std::vector<TokenId>>> ReadPrompts(const Options& options,
                                                      const Tokenizer& tokenizer) {
  std::ifstream in(options.prompts);
  std::vector<std::vector<TokenId>> prompts;
  for (std::string line; std::getline(in, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("prompt") || !json["prompt"].is_string()) {
      return Error{options.prompts + ": each line must be {\"prompt\": text}"};
    }
    prompts.push_back(
        tokenizer.Encode(json["prompt"].get_ref<const std::string&>(), SpecialTokens::kParse));
  }
  const auto needed = static_cast<size_t>(options.per_round) *
                      static_cast<size_t>(options.rounds + options.warm_up);
  if (prompts.size() < needed) {
    return Error{fmt::format("{} holds {} prompts, but {} rounds of {} need {}", options.prompts,
                             prompts.size(), options.rounds, options.per_round, needed)};
  }
  return prompts;
}

// An adversary's requests beside the first one: text that says the same again and again, and goes
// on doing so.
void AddAdversaries(const Options& options, std::vector<Request>& requests) {
  const Request victim = requests[0];
  requests.resize(1, victim);
  for (int32_t i = 1; i < options.streams; ++i) {
    Request adversary = victim;
    const std::vector<TokenId> phrase(victim.prompt.end() - 12, victim.prompt.end());
    for (int repeat = 0; repeat < 20; ++repeat) {
      adversary.prompt.insert(adversary.prompt.end(), phrase.begin(), phrase.end());
    }
    adversary.stop_tokens.clear();
    adversary.sampling.temperature = 0;
    adversary.max_tokens = 4 * victim.max_tokens;
    for (const TokenId token : phrase) adversary.sampling.logit_bias.emplace_back(token, 20.0f);
    requests.push_back(adversary);
  }
}

Status Run(const Options& options) {
  ASSIGN_OR_RETURN(const Setup setup, Load(options));
  ASSIGN_OR_RETURN(const auto prompts, ReadPrompts(options, *setup.tokenizer));
  std::vector<std::unique_ptr<Engine>> engines;
  for (const std::string& mode : options.modes) {
    ASSIGN_OR_RETURN(auto engine, MakeEngine(setup, options, mode));
    engines.push_back(std::move(engine));
  }
  const size_t modes = options.modes.size();
  std::vector<std::vector<Answers>> results(modes);
  size_t next = 0;
  for (int32_t round = -options.warm_up; round < options.rounds; ++round) {
    std::vector<Request> requests;
    for (int32_t i = 0; i < options.per_round; ++i, ++next) {
      requests.push_back(MakeRequest(setup, options, prompts[next], next));
    }
    if (options.victims) AddAdversaries(options, requests);
    for (size_t turn = 0; turn < modes; ++turn) {
      // There and back again, shifted by one each time.
      const size_t forward = (turn + static_cast<size_t>((round + options.warm_up) / 2)) % modes;
      const size_t mode = round % 2 == 0 ? forward : modes - 1 - forward;
      ASSIGN_OR_RETURN(Answers answers, Ask(*engines[mode], requests, options.random_arrival));
      if (options.each_round) {
        fmt::print(
            "round {} {:8} {:5} tokens {:9.3f} ms   drafted {} accepted {} saved {:+.3f} ms\n",
            round, options.modes[mode], answers.count, answers.seconds * 1e3, answers.drafted,
            answers.accepted, answers.saved * 1e3);
      }
      if (round >= 0) results[mode].push_back(std::move(answers));
    }
  }
  fmt::print(
      "deepen {} ({:.0f} M parameters a step), {} streams, temperature {}, {} rounds of {}\n",
      options.deepen, static_cast<double>(setup.target->info().layer_macs) * 1e-6, options.streams,
      options.temperature, options.rounds, options.per_round);
  for (size_t mode = 0; mode < modes; ++mode) {
    std::vector<double> rates, ratios, first;
    int64_t different = 0, drafted = 0, accepted = 0, total = 0;
    double saved = 0;
    for (size_t round = 0; round < results[mode].size(); ++round) {
      const Answers& mine = results[mode][round];
      const Answers& base = results[0][round];
      rates.push_back(mine.rate());
      ratios.push_back(mine.rate() / base.rate());
      first.push_back(mine.first_decode_seconds / base.first_decode_seconds);
      for (size_t i = 0; i < mine.tokens.size(); ++i, ++total) {
        different += mine.tokens[i] != base.tokens[i];
      }
      drafted += mine.drafted;
      accepted += mine.accepted;
      saved += mine.saved;
    }
    fmt::print(
        "{:8} {:9.1f} tokens/s   {:.3f} x {} ({:.3f} to {:.3f})   drafted {} accepted {}   "
        "saved {:+.2f} s   {} of {} answers differ",
        options.modes[mode], Median(rates), Median(ratios), options.modes[0],
        *std::min_element(ratios.begin(), ratios.end()),
        *std::max_element(ratios.begin(), ratios.end()), drafted, accepted, saved, different,
        total);
    if (options.victims) fmt::print("   first request's time per token {:.3f} x", Median(first));
    fmt::print("\n");
  }
  return {};
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  using namespace millrace;
  Options options;
  CommandLine line("speculation_bench", "Speculation on the demo model, mode by mode");
  Verb program = line.Program();
  program.Option("--prompts", options.prompts, "JSON lines of models/prompts.py").Required();
  program.Option("--deepen", options.deepen, "times as many layers").Range(1, 1000);
  program.Option("--streams", options.streams, "requests that run together").Range(1, 256);
  program.Option("--per-round", options.per_round, "prompts of a round").Range(1, 10000);
  program.Option("--rounds", options.rounds, "rounds").Range(1, 1000);
  program.Option("--warm-up", options.warm_up, "rounds before, which do not count").Range(0, 1000);
  program.Option("--max-tokens", options.max_tokens, "longest answer").Range(1, 1000);
  program.Option("--temperature", options.temperature, "0: greedy").RealRange(0.0, 2.0);
  program
      .Option("--modes", options.modes, "off, auto, lookup, suffix, draft; the first is the base")
      .Commas();
  program.Option("--threads", options.threads, "threads (default: one per core)").Range(1, 1024);
  program.Option("--force", options.force, "draft so many tokens whether they pay or not")
      .Range(0, kMaxDraft);
  program.Switch("--random-arrival", options.random_arrival, "requests come 0 to 5 steps apart");
  program.Switch("--adversary", options.victims,
                 "the first request of each round runs beside repetitive ones");
  program.Switch("--each-round", options.each_round, "a line per round and mode");
  program.OnParsed([&options] { return Run(options); });
  return line.Run(argc, argv);
}
