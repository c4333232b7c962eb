// The ablation with a made-up machine instead of servers: what it runs when, what it concludes.
#include "lab/ablation.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "lab/analysis.h"
#include "lab/report.h"
#include "lab/workload_generators.h"

namespace millrace {
namespace {

using testing::Contains;
using testing::HasSubstr;

// Takes e2e_ms of 100, times what each switch that is on multiplies it by, with noise of `noise`
// (of the logarithm) that a round shares and half as much that it does not.
class MadeUpMachine {
 public:
  std::map<std::string, double> factor;  // by flag
  double again = 1;                      // of the baseline's second copy
  double noise = 0.03;
  std::set<std::string> wrong;      // configurations that answer otherwise
  std::set<std::string> failing;    // or fail once
  std::vector<std::string> served;  // names, in order

  RunRecord Run(const LabConfiguration& c, const std::vector<size_t>& items,
                const SwitchList& list) {
    served.push_back(c.name);
    double ms = 100 * (c.name == kBaselineAgain ? again : 1) * (1 + c.handicap_percent / 100);
    for (size_t i = 0; i < list.size(); ++i) {
      if (c.on[i] && factor.contains(list[i]->flag)) ms *= factor.at(list[i]->flag);
    }
    drift_ += noise * normal_(random_) / 4;
    ms *= std::exp(drift_ + noise / 2 * normal_(random_));
    RunRecord r;
    const double per_token = c.on[2] ? 0.2 : 0.1;  // twice nothing
    r.values = {{"e2e_ms", ms},
                {"ttft_ms", ms / 4},
                {"tpot_ms", per_token},
                {"throughput", 1e4 / ms},
                {"memory_mib", 100}};
    for (const size_t i : items)
      r.texts.push_back(fmt::format("answer {}{}", i, wrong.contains(c.name) ? "!" : ""));
    if (failing.contains(c.name)) r.failures["HTTP 500"] = 1;
    return r;
  }

 private:
  std::mt19937_64 random_{7};
  std::normal_distribution<double> normal_;
  double drift_ = 0;
};

class AblationTest : public testing::Test {
 protected:
  AblationTest() {
    for (const LabSwitch& s : LabSwitches()) {
      if (std::string_view(s.flag) != "kv-type" && s.answers != AnswerEffect::kPrompt)
        plan_.switches.push_back(&s);
    }
    // A server that does not speculate by itself, so that "as served" and "all on" differ.
    speculation_.served = speculation_.off;
    plan_.switches[1] = &speculation_;
    workload_ = *GenerateWorkload("turns", {.requests = 100});
    plan_.requests_per_run = 10;
  }
  AblationHooks Hooks() {
    AblationHooks hooks;
    hooks.run = [this](const LabConfiguration& c,
                       const std::vector<size_t>& items) -> Result<RunRecord> {
      if (runs_left_-- <= 0) return Error{"the power went"};
      return machine_.Run(c, items, plan_.switches);
    };
    hooks.save = [this](const AblationState& state) {
      saved_ = ToJson(state);
      return Status();
    };
    hooks.choose = [this](const AblationState& state) {
      return ChooseCandidates(plan_, workload_, state);
    };
    return hooks;
  }
  Analysis RunAndAnalyze() {
    const auto result = RunAblation(plan_, workload_, {}, Hooks());
    EXPECT_TRUE(result.ok());
    result_ = *result;
    return Analyze(plan_, workload_, result_, {});
  }
  EffectVerdict VerdictOf(const std::vector<Finding>& findings, std::string_view subject) {
    for (const Finding& f : findings) {
      if (f.subject == subject) return f.Find("e2e_ms")->verdict;
    }
    ADD_FAILURE() << subject << " was not judged";
    return EffectVerdict::kUndecided;
  }

  LabSwitch speculation_ = LabSwitches()[1];
  AblationPlan plan_;
  Workload workload_;
  MadeUpMachine machine_;
  AblationResult result_;
  std::string saved_;
  int runs_left_ = 1 << 20;
};

TEST_F(AblationTest, HalvesShareNoSession) {
  const Halves halves = SplitWorkload(workload_, 1);
  EXPECT_EQ(halves.screening.size() + halves.confirmation.size(), 100);
  EXPECT_NEAR(static_cast<double>(halves.screening.size()), 50, 5);
  std::set<std::string> sessions;
  for (const size_t i : halves.screening) sessions.insert(workload_.requests[i].session);
  for (const size_t i : halves.confirmation)
    EXPECT_FALSE(sessions.contains(workload_.requests[i].session));
  EXPECT_EQ(RoundRequests({1, 2, 3, 4, 5}, 2, 2), (std::vector<size_t>{1, 5}));
  EXPECT_EQ(RoundRequests({1, 2}, 9, 0), (std::vector<size_t>{1, 2}));
}

TEST_F(AblationTest, VerdictsAreWhatTheMachineDoes) {
  machine_.factor = {{"prefix-cache", 0.7}, {"speculate", 1.3}, {"batching", 0.6}};
  const Analysis a = RunAndAnalyze();
  EXPECT_TRUE(a.confirmed);
  EXPECT_TRUE(a.same_is_null);
  EXPECT_EQ(VerdictOf(a.switches, "prefix reuse"), EffectVerdict::kHelps);
  EXPECT_EQ(VerdictOf(a.switches, "speculation"), EffectVerdict::kHurts);
  EXPECT_EQ(VerdictOf(a.switches, "continuous batching"), EffectVerdict::kHelps);
  const EffectVerdict kv = VerdictOf(a.switches, "paged KV memory");
  EXPECT_TRUE(kv == EffectVerdict::kNoPracticalEffect || kv == EffectVerdict::kUndecided);
  EXPECT_NEAR(a.switches[2].Find("tpot_ms")->effect.ratio, 2, 1e-9);
  EXPECT_EQ(a.switches[2].Find("tpot_ms")->verdict, EffectVerdict::kNoPracticalEffect);
  EXPECT_NEAR(a.switches[0].Find("e2e_ms")->effect.ratio, 0.7, 0.05);
  EXPECT_NEAR(a.alone[0].Find("e2e_ms")->effect.ratio, 0.7, 0.1);
  // Speculation hurts, and this server leaves it off.
  EXPECT_EQ(a.recommendation.configuration, "as served");
}

TEST_F(AblationTest, EveryRoundRunsEveryConfigurationOnceInAnOrderOfItsOwn) {
  RunAndAnalyze();
  EXPECT_EQ(result_.state.runs.size(), CountRuns(plan_, 1));  // all on, and as served
  std::map<int, std::vector<std::string>> rounds;
  std::map<int, std::set<std::vector<size_t>>> items;
  for (const RunRecord& run : result_.state.runs) {
    if (run.stage != Stage::kConfirmation) continue;
    rounds[run.round].push_back(run.configuration);
    items[run.round].insert(run.items);
  }
  EXPECT_EQ(rounds.size(), 8);
  std::set<std::vector<std::string>> orders;
  for (auto& [round, names] : rounds) {
    EXPECT_EQ(items[round].size(), 1);  // the same requests for all
    orders.insert(names);
    EXPECT_EQ(std::set(names.begin(), names.end()).size(), names.size());
  }
  EXPECT_GE(orders.size(), 7);
}

TEST_F(AblationTest, NothingIsRecommendedWhereTheBaselineDiffersFromItself) {
  machine_.factor = {{"prefix-cache", 0.5}};
  machine_.again = 1.2;
  const Analysis a = RunAndAnalyze();
  EXPECT_FALSE(a.same_is_null);
  EXPECT_EQ(a.recommendation.configuration, "");
  EXPECT_THAT(a.recommendation.reasons, Contains(HasSubstr("differs from itself")));
}

TEST_F(AblationTest, AMismatchAFailureOrTooMuchMemoryRejects) {
  machine_.factor = {{"prefix-cache", 0.5}, {"attention", 0.9}};
  machine_.wrong = {std::string(kAllOn)};
  machine_.failing = {"as served"};
  const Analysis a = RunAndAnalyze();
  // All on has another attention, which promises nothing, and no expected answers to judge by.
  EXPECT_THAT(a.recommendation.reasons, Contains(HasSubstr("all on is rejected: ")));
  EXPECT_THAT(a.recommendation.reasons, Contains(HasSubstr("as served is rejected: ")));
  EXPECT_EQ(a.recommendation.configuration, "");
  EXPECT_EQ(a.switches[0].answers.differing, a.switches[0].answers.answers);
  EXPECT_TRUE(a.switches[0].answers.promised_equal);
  const Analysis small = Analyze(plan_, workload_, result_, {.memory_limit = 50 << 20});
  EXPECT_EQ(small.recommendation.configuration, "");
}

PredictionQuality PredictionOf(std::string_view configuration, double kl, double error) {
  PredictionQuality p{std::string(configuration), "8 bits", {}};
  p.quality.divergence = {kl, error, 1000, 20};
  return p;
}

// Without expected answers, what only computes with another precision is judged by KL divergence.
TEST_F(AblationTest, PredictionsStandInForExpectedAnswersWherePromptsAreTheSame) {
  machine_.factor = {{"prefix-cache", 0.5}};
  machine_.wrong = {std::string(kAllOn), "as served"};
  RunAndAnalyze();
  const auto analyze = [&](double kl, double error) {
    return Analyze(plan_, workload_, result_, {},
                   {PredictionOf(kAllOn, kl, error), PredictionOf("as served", kl, error)});
  };
  const Analysis holds = analyze(0.005, 0.003);  // at most 0.00993
  EXPECT_EQ(holds.recommendation.configuration, "as served");
  const Analysis doubtful = analyze(0.005, 0.0031);
  EXPECT_EQ(doubtful.recommendation.configuration, "");
  EXPECT_THAT(doubtful.recommendation.reasons,
              Contains(HasSubstr("the mean KL divergence may be 0.0101 nats, over 0.01")));
}

TEST_F(AblationTest, WithoutExpectedAnswersACandidateKeepsPrompts) {
  for (const LabSwitch& s : LabSwitches()) {
    if (s.answers == AnswerEffect::kPrompt) plan_.switches.push_back(&s);
  }
  machine_.factor = {{"prefix-cache", 0.5}, {"reduce", 0.5}};
  machine_.wrong = {std::string(kAllOn), "as served"};
  RunAndAnalyze();
  const LabConfiguration last = result_.configurations.back();  // the next run replaces them all
  EXPECT_EQ(last.name, "best of the screening");
  for (size_t i = 0; i < plan_.switches.size(); ++i) {
    const bool other_prompt = plan_.switches[i]->answers == AnswerEffect::kPrompt;
    EXPECT_TRUE(!other_prompt || !last.on[i]);
  }
  EXPECT_TRUE(last.on[0]);
  for (WorkloadRequest& r : workload_.requests) r.expected = R"("answer")";
  RunAndAnalyze();  // now it can be judged, and is left where it was
  for (const LabConfiguration& c : result_.configurations) EXPECT_NE(c.name, last.name);
}

TEST_F(AblationTest, SlowedOnPurposeIsSeenAtTenPercentAndNotAtOne) {
  plan_.handicaps = {10, 1};
  machine_.noise = 0.02;
  const Analysis a = RunAndAnalyze();
  EXPECT_EQ(VerdictOf(a.handicaps, HandicapName(10)), EffectVerdict::kHurts);
  const EffectVerdict one = VerdictOf(a.handicaps, HandicapName(1));
  EXPECT_TRUE(one == EffectVerdict::kNoPracticalEffect || one == EffectVerdict::kUndecided);
}

TEST_F(AblationTest, AnInterruptedOneGoesOnWhereItWas) {
  runs_left_ = 20;
  const auto cut = RunAblation(plan_, workload_, {}, Hooks());
  ASSERT_FALSE(cut.ok());
  EXPECT_EQ(cut.error().message, "the power went");
  const auto state = ParseAblationState(saved_);
  ASSERT_TRUE(state.ok()) << state.error().message;
  EXPECT_EQ(state->runs.size(), 20);
  EXPECT_EQ(ToJson(*state), saved_);
  runs_left_ = 1 << 20;
  const auto whole = RunAblation(plan_, workload_, *state, Hooks());
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(whole->state.runs.size(), machine_.served.size());
  EXPECT_FALSE(ParseAblationState("{}").ok());
  EXPECT_FALSE(ParseAblationState("nonsense").ok());
}

TEST_F(AblationTest, AFirstLookRanksAndRecommendsNothing) {
  plan_.confirmation_rounds = 0;
  machine_.factor = {{"prefix-cache", 0.5}};
  const Analysis a = RunAndAnalyze();
  EXPECT_FALSE(a.confirmed);
  EXPECT_EQ(a.recommendation.configuration, "");
  EXPECT_LT(a.switches[0].Find("e2e_ms")->effect.ratio, 0.6);
}

TEST_F(AblationTest, ASingleSessionCannotBeSplit) {
  for (WorkloadRequest& r : workload_.requests) r.session = "one";
  EXPECT_THAT(RunAblation(plan_, workload_, {}, Hooks()).error().message,
              HasSubstr("nothing to split"));
}

TEST_F(AblationTest, TheReportIsWholeAndNeedsNoNetwork) {
  machine_.factor = {{"prefix-cache", 0.5}};
  RunAndAnalyze();
  for (RunRecord& run : result_.state.runs) {
    run.values["passage_requests"] = 8;
    run.values["answer_coverage"] = 0.75;
  }
  const Analysis a = Analyze(plan_, workload_, result_, {}, {PredictionOf(kAllOn, 0.0123, 0.0004)});
  ReportInput input{plan_,
                    result_,
                    a,
                    {},
                    "<w>",
                    "m",
                    "closed",
                    {{"cpu", "x & y"}},
                    {{"all on", "millrace serve"}},
                    {"rule"},
                    {"note"},
                    "[serve]\n"};
  const std::string html = ReportHtml(input);
  EXPECT_THAT(html, HasSubstr("helps"));
  EXPECT_THAT(html, HasSubstr("x &amp; y"));
  EXPECT_THAT(html, HasSubstr("&lt;w&gt;"));
  EXPECT_THAT(html, HasSubstr("<svg"));
  EXPECT_THAT(html, HasSubstr("0.01230 &plusmn; 0.00040"));
  EXPECT_THAT(html, HasSubstr("75.0 %"));
  EXPECT_EQ(html.find("src="), std::string::npos);
  EXPECT_EQ(html.find("href="), std::string::npos);
  EXPECT_THAT(ReportJson(input), HasSubstr("\"verdict\": \"helps\""));
  const std::string csv = ReportCsv(result_.state);
  EXPECT_EQ(static_cast<size_t>(std::count(csv.begin(), csv.end(), '\n')),
            result_.state.runs.size() + 1);
}

TEST(LabSwitch, TomlAndFlags) {
  const SwitchList list = {&LabSwitches()[0], &LabSwitches()[1]};
  const LabConfiguration c{"x", {false, true}, {}, 0};
  EXPECT_THAT(FlagsOf(c, list),
              testing::ElementsAre("--prefix-cache", "off", "--speculate", "auto"));
  EXPECT_EQ(TomlOf(c, list, "a\"b.gguf", "one\ntwo"),
            "# one\n# two\n[serve]\nmodel = \"a\\\"b.gguf\"\nprefix-cache = \"off\"\n"
            "speculate = \"auto\"\n");
  EXPECT_EQ(DistanceFromServed(c, list), 1);
}

}  // namespace
}  // namespace millrace
