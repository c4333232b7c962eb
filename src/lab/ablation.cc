#include "lab/ablation.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "base/rng.h"

namespace millrace {
namespace {

LabConfiguration AllSet(std::string name, const AblationPlan& plan, bool on) {
  return {std::move(name), std::vector<bool>(plan.switches.size(), on), {}, 0};
}

// Baseline, baseline again, all on, models, all but each: what both stages run.
std::vector<LabConfiguration> CommonConfigurations(const AblationPlan& plan) {
  std::vector<LabConfiguration> list = {AllSet(std::string(kBaseline), plan, false),
                                        AllSet(std::string(kBaselineAgain), plan, false),
                                        AllSet(std::string(kAllOn), plan, true)};
  for (size_t i = 0; i < plan.switches.size(); ++i) {
    LabConfiguration without = AllSet(WithoutName(*plan.switches[i]), plan, true);
    without.on[i] = false;
    list.push_back(std::move(without));
  }
  for (const std::string& model : plan.candidate_models) {
    LabConfiguration other = AllSet(ModelName(model), plan, true);
    other.model = model;
    list.push_back(std::move(other));
  }
  for (const double percent : plan.handicaps) {
    LabConfiguration slowed = AllSet(HandicapName(percent), plan, true);
    slowed.handicap_percent = percent;
    list.push_back(std::move(slowed));
  }
  return list;
}

template <class T>
void Shuffle(std::vector<T>& values, CounterRng rng) {
  for (size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1], values[static_cast<size_t>(rng.NextU64() % i)]);
}

class AblationRunner {
 public:
  AblationRunner(const AblationPlan& plan, AblationState state, const AblationHooks& hooks)
      : plan_(plan), state_(std::move(state)), hooks_(hooks) {
    for (const RunRecord& run : state_.runs)
      done_.insert(KeyOf(run.stage, run.round, run.configuration));
  }

  Status RunStage(Stage stage, const std::vector<LabConfiguration>& list,
                  const std::vector<size_t>& half, int rounds) {
    for (int round = 0; round < rounds; ++round) {
      std::vector<size_t> order(list.size());
      for (size_t i = 0; i < order.size(); ++i) order[i] = i;
      const auto position = static_cast<uint64_t>(round * 2 + (stage == Stage::kConfirmation));
      Shuffle(order, CounterRng(plan_.seed, 0xab1a + position));
      const std::vector<size_t> items = RoundRequests(half, plan_.requests_per_run, round);
      for (const size_t i : order) {
        if (done_.contains(KeyOf(stage, round, list[i].name))) continue;
        Report(
            fmt::format("{}, round {} of {}: {}", NameOf(stage), round + 1, rounds, list[i].name));
        ASSIGN_OR_RETURN(RunRecord record, hooks_.run(list[i], items));
        record.stage = stage;
        record.round = round;
        record.configuration = list[i].name;
        record.items = items;
        state_.runs.push_back(std::move(record));
        ++own_runs_;
        RETURN_IF_ERROR(hooks_.save(state_));
      }
    }
    return {};
  }

  void SetTotal(size_t total) { total_ = total; }
  AblationState& state() { return state_; }

 private:
  static std::string KeyOf(Stage stage, int round, const std::string& name) {
    return fmt::format("{}/{}/{}", NameOf(stage), round, name);
  }

  void Report(std::string now) {
    if (!hooks_.progress) return;
    AblationProgress p;
    p.done = state_.runs.size();
    p.total = std::max(total_, p.done);
    p.now = std::move(now);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
    if (own_runs_ > 0)
      p.seconds_left = elapsed.count() / own_runs_ * static_cast<double>(p.total - p.done);
    hooks_.progress(p);
  }

  const AblationPlan& plan_;
  AblationState state_;
  const AblationHooks& hooks_;
  std::set<std::string> done_;
  size_t total_ = 0;
  int own_runs_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

std::string_view NameOf(Stage stage) {
  return stage == Stage::kScreening ? "screening" : "confirmation";
}

std::string AloneName(const LabSwitch& s) { return fmt::format("only {}", s.name); }
std::string WithoutName(const LabSwitch& s) { return fmt::format("all but {}", s.name); }
std::string HandicapName(double percent) {
  return fmt::format("all on, slowed by {:g} %", percent);
}
std::string ModelName(std::string_view file) { return fmt::format("all on, model {}", file); }

std::vector<LabConfiguration> ScreeningConfigurations(const AblationPlan& plan) {
  std::vector<LabConfiguration> list = CommonConfigurations(plan);
  for (size_t i = 0; i < plan.switches.size(); ++i) {
    LabConfiguration alone = AllSet(AloneName(*plan.switches[i]), plan, false);
    alone.on[i] = true;
    list.push_back(std::move(alone));
  }
  return list;
}

std::vector<LabConfiguration> ConfirmationConfigurations(const AblationPlan& plan) {
  return CommonConfigurations(plan);
}

Halves SplitWorkload(const Workload& workload, uint64_t seed) {
  std::map<std::string, std::vector<size_t>> groups;
  for (size_t i = 0; i < workload.requests.size(); ++i) {
    const WorkloadRequest& r = workload.requests[i];
    const std::string& name = r.group.empty() ? r.session : r.group;
    groups[name.empty() ? fmt::format("\n{:09}", i) : name].push_back(i);
  }
  std::vector<std::vector<size_t>> order;
  for (auto& [name, members] : groups) order.push_back(std::move(members));
  Shuffle(order, CounterRng(seed, 0x5011));
  Halves halves;
  for (const auto& members : order) {
    auto& half = halves.screening.size() < halves.confirmation.size() ? halves.screening
                                                                      : halves.confirmation;
    half.insert(half.end(), members.begin(), members.end());
  }
  std::sort(halves.screening.begin(), halves.screening.end());
  std::sort(halves.confirmation.begin(), halves.confirmation.end());
  return halves;
}

std::vector<size_t> RoundRequests(const std::vector<size_t>& half, size_t count, int round) {
  std::vector<size_t> items;
  if (half.empty()) return items;
  count = std::min(count, half.size());
  const size_t first = static_cast<size_t>(round) * count % half.size();
  for (size_t i = 0; i < count; ++i) items.push_back(half[(first + i) % half.size()]);
  std::sort(items.begin(), items.end());
  return items;
}

const LabConfiguration* AblationResult::Find(std::string_view name) const {
  const auto found = std::find_if(configurations.begin(), configurations.end(),
                                  [&](const LabConfiguration& c) { return c.name == name; });
  return found == configurations.end() ? nullptr : &*found;
}

std::optional<double> MeanOverRuns(const AblationState& state, Stage stage,
                                   std::string_view configuration, std::string_view value) {
  double sum = 0;
  int count = 0;
  for (const RunRecord& run : state.runs) {
    if (run.stage != stage || run.configuration != configuration) continue;
    const auto found = run.values.find(std::string(value));
    if (found == run.values.end()) continue;
    sum += found->second;
    ++count;
  }
  return count > 0 ? std::optional(sum / count) : std::nullopt;
}

size_t CountRuns(const AblationPlan& plan, size_t candidates) {
  const auto rounds = [](int n) { return static_cast<size_t>(std::max(0, n)); };
  return ScreeningConfigurations(plan).size() * rounds(plan.screening_rounds) +
         (ConfirmationConfigurations(plan).size() + candidates) * rounds(plan.confirmation_rounds);
}

Result<AblationResult> RunAblation(const AblationPlan& plan, const Workload& workload,
                                   AblationState state, const AblationHooks& hooks) {
  const Halves halves = SplitWorkload(workload, plan.seed);
  const bool confirms = plan.confirmation_rounds > 0;
  if (confirms && (halves.screening.empty() || halves.confirmation.empty()))
    return Error{"the workload has a single group or session: there is nothing to split"};
  AblationResult result;
  result.configurations = ScreeningConfigurations(plan);
  AblationRunner runner(plan, std::move(state), hooks);
  runner.SetTotal(CountRuns(plan, 1));
  std::vector<size_t> everything(workload.requests.size());
  for (size_t i = 0; i < everything.size(); ++i) everything[i] = i;
  RETURN_IF_ERROR(runner.RunStage(Stage::kScreening, result.configurations,
                                  confirms ? halves.screening : everything, plan.screening_rounds));
  if (confirms) {
    std::vector<LabConfiguration> list = ConfirmationConfigurations(plan);
    for (LabConfiguration& candidate : hooks.choose(runner.state())) {
      result.candidates.push_back(candidate.name);
      const auto same = [&](const LabConfiguration& c) { return c.name == candidate.name; };
      if (std::none_of(list.begin(), list.end(), same)) list.push_back(candidate);
      if (std::none_of(result.configurations.begin(), result.configurations.end(), same))
        result.configurations.push_back(std::move(candidate));
    }
    runner.SetTotal(CountRuns(plan, list.size() - ConfirmationConfigurations(plan).size()));
    RETURN_IF_ERROR(
        runner.RunStage(Stage::kConfirmation, list, halves.confirmation, plan.confirmation_rounds));
  }
  result.state = std::move(runner.state());
  return result;
}

}  // namespace millrace
