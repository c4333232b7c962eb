// millrace measure WORKLOAD: what each optimisation is worth on that traffic: runs of fresh server
// processes, on and off, paired by round; a report; a configuration for serve.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <thread>

#include "base/atomic_file.h"
#include "base/rng.h"
#include "command_line.h"
#include "measure_predictions.h"
#include "measure_report.h"
#include "measure_run.h"
#include "measure_switches.h"
#include "reporting.h"
#include "verbs.h"

namespace millrace {
namespace {

constexpr int32_t kRounds = 8;
constexpr size_t kPilotRequests = 12;
constexpr double kAssumedDeviation = 0.05;  // before anything has been measured

struct MeasureFlags {
  WorkloadFlags workload;
  ModelFlags model;  // MODEL and --draft only
  std::vector<std::string> candidate_models;
  std::vector<std::string> switches;
  std::vector<int32_t> handicaps;
  std::string targets;
  Traffic traffic;
  uint64_t clients = 4;
  bool quick = false;
  bool fresh = false;
  int32_t rounds = 0;  // as many as verdicts need
  uint64_t requests_per_run = 0;
  double budget = 0;  // minutes
  int32_t max_tokens = 64;
  uint64_t memory_limit = 0;
  std::string serve_flags;
  std::string out = "millrace-measure";
  bool json = false;
};

// What must not change between the parts of an interrupted measurement.
std::string Fingerprint(const MeasureFlags& f, const AblationPlan& plan, const Workload& workload) {
  uint64_t hash = 0;
  for (const WorkloadRequest& request : workload.requests) {
    for (const char c : ToWorkloadLine(request)) hash = Mix64(hash ^ static_cast<uint8_t>(c));
  }
  std::string text = fmt::format(
      "{} workload {:016x} model {} draft {} rounds {}+{} {} rate {} targets {} max_tokens {} seed "
      "{} flags {}",
      MILLRACE_VERSION, hash, f.model.model, f.model.draft, plan.screening_rounds,
      plan.confirmation_rounds, Described(f.traffic), f.traffic.rate, f.targets, f.max_tokens,
      plan.seed, f.serve_flags);
  for (const LabSwitch* s : plan.switches) {
    text += fmt::format(" {}={}", s->flag, s->on);
    const std::string_view usual = ChosenSwitches::Find(s->flag)->off;
    if (s->off != usual) text += fmt::format(":{}", s->off);
  }
  for (const std::string& model : plan.candidate_models) text += " " + model;
  for (const double h : plan.handicaps) text += fmt::format(" slowed {}", h);
  return text;
}

Result<AblationState> LoadState(const std::string& path, const std::string& fingerprint,
                                bool fresh) {
  AblationState state;
  state.fingerprint = fingerprint;
  if (fresh || !std::filesystem::exists(path)) return state;
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, size_t{1} << 30));
  ASSIGN_OR_RETURN(AblationState found, ParseAblationState(text));
  if (found.fingerprint != fingerprint) {
    return Error{path +
                 " belongs to another measurement: give --out another folder, or --fresh to start "
                 "anew"};
  }
  std::fprintf(stderr, "going on where %zu runs were done (%s)\n", found.runs.size(), path.c_str());
  return found;
}

// Leaves out what does not fit into the context, with a note.
void LeaveOutLong(const WorkloadModel& model, int32_t context, int32_t max_tokens,
                  Workload& workload, std::vector<std::string>& notes) {
  const size_t before = workload.requests.size();
  std::erase_if(workload.requests, [&](const WorkloadRequest& r) {
    const auto input = r.has_text() ? static_cast<int64_t>(model.tokenizer.prompt(r).size())
                                    : int64_t{r.input_tokens};
    const int64_t output = r.output_tokens > 0 ? r.output_tokens : max_tokens;
    return context > 0 && input + output > context;
  });
  if (workload.requests.size() < before) {
    notes.push_back(fmt::format("{} of {} requests are left out: longer than the context of {}",
                                before - workload.requests.size(), before, context));
  }
}

void ShowProgress(const AblationProgress& p) {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const std::string left =
      p.seconds_left > 0 ? fmt::format(", about {:.0f} min left", p.seconds_left / 60) : "";
  std::fprintf(stderr, "%s[%zu/%zu] %s%s%s", terminal ? "\r\033[K" : "", p.done + 1, p.total,
               p.now.c_str(), left.c_str(), terminal ? "" : "\n");
}

class Measurement {
 public:
  explicit Measurement(const MeasureFlags& flags) : flags_(flags) {}

  Status Run() {
    RETURN_IF_ERROR(Prepare());
    const RunLauncher launcher = Launcher();
    ASSIGN_OR_RETURN(const RunLauncher::Start first, launcher.TryStart(Everything(true)));
    LeaveOutLong(model_, first.context_tokens, flags_.max_tokens, workload_, notes_);
    if (workload_.requests.empty()) return Error{"no request of the workload fits the context"};
    summary_ = Summarize(workload_, model_.tokenizer);
    const std::string state_file = (std::filesystem::path(flags_.out) / "state.json").string();
    ASSIGN_OR_RETURN(AblationState state,
                     LoadState(state_file, Fingerprint(flags_, plan_, workload_), flags_.fresh));
    if (state.requests_per_run == 0) {
      ASSIGN_OR_RETURN(state.requests_per_run, RequestsPerRun(launcher, first.seconds));
    }
    plan_.requests_per_run = state.requests_per_run;
    PrintPlan();
    const auto start = std::chrono::steady_clock::now();
    ASSIGN_OR_RETURN(const AblationResult result,
                     RunAblation(plan_, workload_, std::move(state), Hooks(launcher, state_file)));
    std::fprintf(stderr, "\n");
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    notes_.push_back(
        fmt::format("client and server share {} hardware threads: where a token takes less than "
                    "the system's time slice (some ms), tokens reach the client together, and "
                    "first token and gaps show that; --serve-flags '--threads N' leaves room",
                    std::thread::hardware_concurrency()));
    notes_.push_back(fmt::format("the runs took {:.1f} minutes", took.count() / 60));
    return Finish(result);
  }

 private:
  Status Prepare() {
    ASSIGN_OR_RETURN(workload_, ReadWorkload(flags_.workload));
    RETURN_IF_ERROR(CheckStores(workload_, flags_.serve_flags));
    ASSIGN_OR_RETURN(plan_.switches, chosen_.Choose(flags_.switches, workload_));
    ASSIGN_OR_RETURN(targets_, ParseTargets(flags_.targets));
    plan_.candidate_models = flags_.candidate_models;
    for (const int32_t h : flags_.handicaps) plan_.handicaps.push_back(h);
    plan_.seed = flags_.workload.seed;
    plan_.screening_rounds = flags_.quick ? 5 : 2;
    // Each switch is a test of its own, which Holm's adjustment counts; so is each candidate.
    const int32_t needed = LeastRounds(plan_.switches.size());
    plan_.confirmation_rounds = flags_.quick         ? 0
                                : flags_.rounds == 0 ? std::max(kRounds, needed)
                                                     : flags_.rounds;
    if (!flags_.quick && plan_.confirmation_rounds < needed) {
      notes_.push_back(
          fmt::format("{} switches need {} rounds for a verdict: with {} the most that "
                      "can be said of each is \"undecided\" or \"no practical effect\"",
                      plan_.switches.size(), needed, plan_.confirmation_rounds));
    }
    rules_.memory_limit = static_cast<int64_t>(flags_.memory_limit);
    if ((flags_.traffic.arrivals == "poisson" || flags_.traffic.arrivals == "bursty") &&
        !(flags_.traffic.rate > 0)) {
      return Error{"--arrivals poisson and bursty need a --rate"};
    }
    if (flags_.traffic.arrivals == "recorded" && !workload_.timed)
      return Error{
          "the workload has no timestamps: give --arrivals closed, or poisson and a --rate"};
    if (!workload_.skipped.empty())
      notes_.push_back(fmt::format("{} bad lines were skipped, the first: {}",
                                   workload_.skipped.size(), workload_.skipped[0]));
    ASSIGN_OR_RETURN(model_, LoadWorkloadModel(flags_.model));
    std::error_code failed;
    std::filesystem::create_directories(flags_.out, failed);
    if (failed) return Error{"cannot make the folder " + flags_.out + ": " + failed.message()};
    return {};
  }

  ServerSetup Setup() const {
    ServerSetup setup;
    setup.binary = std::filesystem::read_symlink("/proc/self/exe").string();
    setup.model = flags_.model.model;
    setup.draft = flags_.model.draft;
    std::istringstream words(flags_.serve_flags);
    for (std::string word; words >> word;) setup.more_flags.push_back(word);
    setup.log_file = (std::filesystem::path(flags_.out) / "server.log").string();
    return setup;
  }

  RunLauncher Launcher() const {
    return RunLauncher(Setup(), plan_.switches, workload_, model_.plain_tokens, flags_.traffic,
                       targets_, flags_.max_tokens);
  }

  LabConfiguration Everything(bool on) const {
    return {"pilot", std::vector<bool>(plan_.switches.size(), on), {}, 0};
  }

  double BudgetSeconds() const {
    return 60 * (flags_.budget > 0 ? flags_.budget : flags_.quick ? 8 : 60);
  }

  // As many as make the whole take the budget, by a run of a few on the baseline.
  Result<size_t> RequestsPerRun(const RunLauncher& launcher, double start_seconds) const {
    if (flags_.requests_per_run > 0) return static_cast<size_t>(flags_.requests_per_run);
    std::vector<size_t> items;
    for (size_t i = 0; i < std::min(kPilotRequests, workload_.requests.size()); ++i)
      items.push_back(i);
    ASSIGN_OR_RETURN(const RunRecord pilot, launcher.Run(Everything(false), items));
    const double each = pilot.values.at("seconds") / static_cast<double>(items.size());
    const double runs = static_cast<double>(CountRuns(plan_, flags_.quick ? 0 : 2));
    const double seconds = BudgetSeconds() / runs - start_seconds - 0.5;
    const auto fit = static_cast<size_t>(std::max(1.0, seconds / std::max(each, 1e-4)));
    const size_t half = flags_.quick ? workload_.requests.size() : workload_.requests.size() / 2;
    return std::min(std::max(fit, size_t{8}), std::max<size_t>(half, 1));
  }

  void PrintPlan() const {
    std::FILE* out = flags_.json ? stderr : stdout;
    const size_t runs = CountRuns(plan_, flags_.quick ? 0 : 2);
    fmt::print(out, "{}: {} requests; {}; {} requests a run\n", workload_.format,
               workload_.requests.size(), Described(flags_.traffic), plan_.requests_per_run);
    fmt::print(out, "{} runs in fresh servers, about {:.0f} minutes or less\n", runs,
               BudgetSeconds() / 60);
    if (flags_.quick) {
      fmt::print(out, "a first look of {} rounds: it ranks, and claims nothing\n",
                 plan_.screening_rounds);
    } else {
      fmt::print(
          out,
          "with {} rounds, an effect of {:.0f} % would be found in 85 of 100 cases where rounds "
          "differ by {:.0f} % (told again once that is measured)\n",
          plan_.confirmation_rounds,
          100 * DetectableEffect(kAssumedDeviation, static_cast<size_t>(plan_.confirmation_rounds)),
          100 * kAssumedDeviation);
    }
    fmt::print(out, "rules\n");
    for (const std::string& rule : RulesOf(rules_)) fmt::print(out, "  {}\n", rule);
    for (const std::string& line : summary_.cannot_measure)
      fmt::print(out, "not measured here: {}\n", line);
    for (const std::string& note : notes_) fmt::print(out, "note: {}\n", note);
    std::fflush(out);
  }

  AblationHooks Hooks(const RunLauncher& launcher, const std::string& state_file) const {
    AblationHooks hooks;
    hooks.run = [&launcher](const LabConfiguration& c, const std::vector<size_t>& items) {
      return launcher.Run(c, items);
    };
    hooks.save = [state_file](const AblationState& state) {
      return WriteAtomically(state_file, ToJson(state));
    };
    hooks.progress = ShowProgress;
    hooks.choose = [this](const AblationState& state) {
      const auto d = PairedDifferences(state, Stage::kScreening, kBaselineAgain, kBaseline,
                                       LabMetrics()[0].key);
      const double deviation = PairedEffect(d).deviation;
      std::fprintf(
          stderr,
          "\nscreened; rounds of the baseline differ by %.1f %%: an effect of %.1f %% "
          "would be found\n",
          100 * deviation,
          100 * DetectableEffect(deviation, static_cast<size_t>(plan_.confirmation_rounds)));
      return ChooseCandidates(plan_, workload_, state);
    };
    return hooks;
  }

  Status Finish(const AblationResult& result) {
    const ServerSetup setup = Setup();
    PredictionSetup predicting{setup, plan_.switches, workload_, model_.tokenizer};
    if (flags_.quick) predicting.tokens /= 4;
    auto predictions = MeasurePredictions(predicting, plan_, result);
    if (!predictions.ok()) {
      notes_.push_back("predictions were not compared: " + predictions.error().message);
      predictions = std::vector<PredictionQuality>();
    }
    const Analysis analysis = Analyze(plan_, workload_, result, rules_, *std::move(predictions));
    ReportInput input{plan_, result, analysis, summary_, {}, {}, {}, {}, {}, {}, {}, {}};
    input.workload = fmt::format("{} ({}), {} requests", flags_.workload.source, workload_.format,
                                 workload_.requests.size());
    input.model = flags_.model.model.empty() ? "embedded demo model" : flags_.model.model;
    input.replay =
        fmt::format("{}, {} requests a run", Described(flags_.traffic), plan_.requests_per_run);
    input.machine = DescribeMachine();
    input.rules = RulesOf(rules_);
    input.notes = notes_;
    for (const LabConfiguration& c : result.configurations) {
      std::string command = "millrace serve";
      for (const std::string& flag : FlagsFor(setup, c, plan_.switches)) command += " " + flag;
      input.commands.emplace_back(c.name, command);
      if (c.name != analysis.recommendation.configuration) continue;
      std::string comment = "Recommended by millrace measure on " + input.workload + ".";
      for (const std::string& reason : analysis.recommendation.reasons) comment += "\n" + reason;
      input.recommended_toml = TomlOf(c, plan_.switches, flags_.model.model, comment);
    }
    if (!flags_.json) PrintFindings(analysis);
    RETURN_IF_ERROR(WriteReport(flags_.out, input));
    const std::string file = (std::filesystem::path(flags_.out) / "report.html").string();
    fmt::print(flags_.json ? stderr : stdout, "report: {}\n", file);
    if (flags_.json) std::fputs(ReportJson(input).c_str(), stdout);
    return {};
  }

  const MeasureFlags& flags_;
  ChosenSwitches chosen_;
  AblationPlan plan_;
  AnalysisRules rules_;
  ServiceTargets targets_;
  Workload workload_;
  WorkloadModel model_;
  WorkloadSummary summary_;
  std::vector<std::string> notes_;
};

Status RunMeasure(MeasureFlags& flags) {
  flags.traffic.clients = static_cast<size_t>(flags.clients);
  flags.traffic.seed = flags.workload.seed;
  return Measurement(flags).Run();
}

void AddTrafficFlags(Verb& verb, MeasureFlags& flags) {
  verb.Option("--arrivals", flags.traffic.arrivals,
              "closed: so many clients at once; recorded, poisson or bursty: by the clock, and "
              "latency counts from when a request was due")
      .ShowDefault()
      .OneOf({"closed", "recorded", "poisson", "bursty"});
  verb.Option("--clients", flags.clients, "of a closed loop").ShowDefault().Range(1, 4096);
  verb.Option("--rate", flags.traffic.rate, "requests a second, for poisson and bursty");
  verb.Option("--slo", flags.targets, "what an answer must meet: ttft=500ms,itl=80ms,e2e=2s");
  verb.Option("--max-tokens", flags.max_tokens, "longest answer, where the workload does not say")
      .ShowDefault()
      .Range(1, 1 << 20);
}

}  // namespace

void AddMeasureVerb(CommandLine& line) {
  auto flags = std::make_shared<MeasureFlags>();
  Verb verb = line.AddVerb("measure", "What each optimisation is worth on your traffic");
  AddWorkloadFlags(verb, flags->workload);
  verb.Option("--model", flags->model.model, "a GGUF file (default: the embedded demo model)");
  verb.Option("--draft", flags->model.draft, "a draft model, for speculation");
  verb.Option("--candidate-models", flags->candidate_models,
              "further GGUF files, such as quantised ones, to be compared")
      .Commas();
  verb.Option("--switches", flags->switches,
              "only these, such as prefix-cache,speculate=lookup or kv-type=q8_0:f32 (other values "
              "of on "
              "and off)")
      .Commas();
  AddTrafficFlags(verb, *flags);
  verb.Switch("--quick", flags->quick, "a first look in under 10 minutes, which ranks only");
  verb.Option("--rounds", flags->rounds,
              "of the confirmation (default: 8, or more where the number of switches needs more)")
      .Range(4, 20);
  verb.Option("--budget", flags->budget,
              "minutes that the whole may take (default: 60, with --quick 8)")
      .Positive();
  verb.Option("--requests-per-run", flags->requests_per_run, "instead of what the budget allows");
  verb.Option("--memory-limit", flags->memory_limit, "what a recommended server may take").Size();
  verb.Option("--serve-flags", flags->serve_flags, "further flags of every server, in one text");
  verb.Option("--handicap", flags->handicaps,
              "percents: also run servers slowed on purpose by so much, to see whether it is seen")
      .Commas();
  verb.Option("--out", flags->out, "folder for report, runs and state").ShowDefault();
  verb.Switch("--fresh", flags->fresh, "do not go on with what --out holds");
  verb.Switch("--json", flags->json,
              "the report as JSON on standard output, all else on standard error");
  verb.OnParsed([flags] { return RunMeasure(*flags); });
}

}  // namespace millrace
