// millrace evaluate MODEL TASK: how many of a task's questions a model answers rightly; with
// --against a second model, which answers changed and whether that is more than chance.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "answering.h"
#include "command_line.h"
#include "lab/task_score.h"
#include "quality_json.h"
#include "reporting.h"
#include "verbs.h"

namespace millrace {
namespace {

struct EvaluateFlags {
  ModelFlags model;
  std::string task;
  std::string against;
  std::string against_kv_type;
  int32_t max_tokens = 64;
  size_t questions = 0;
  size_t show = 0;
  bool json = false;
};

nlohmann::ordered_json ToJson(const TaskScore& s) {
  return {{"questions", s.questions},
          {"right", s.right},
          {"exact_match", s.exact_match},
          {"exact_match_interval", ToJson(s.exact_match_interval)},
          {"f1", s.f1},
          {"f1_interval", ToJson(s.f1_interval)}};
}

nlohmann::ordered_json ToJson(const TaskComparison& c) {
  return {{"lost", c.lost},
          {"gained", c.gained},
          {"mcnemar_p", c.mcnemar_p},
          {"exact_match_difference", c.difference},
          {"exact_match_difference_interval", ToJson(c.difference_interval)}};
}

void PrintScore(const std::string& name, const TaskScore& s) {
  fmt::print(
      "{}: exact match {:.4f} ({:.4f} to {:.4f}), F1 {:.4f} ({:.4f} to {:.4f}), {} questions\n",
      name, s.exact_match, s.exact_match_interval.low, s.exact_match_interval.high, s.f1,
      s.f1_interval.low, s.f1_interval.high, s.questions);
}

std::vector<Judgement> JudgeAll(const std::vector<TaskItem>& items,
                                const std::vector<Answer>& answers) {
  std::vector<Judgement> judgements;
  for (size_t i = 0; i < items.size(); ++i)
    judgements.push_back(Judge(items[i].expected, answers[i].text));
  return judgements;
}

void ShowWrong(const std::vector<TaskItem>& items, const std::vector<Answer>& answers,
               const std::vector<Judgement>& judgements, size_t most) {
  for (size_t i = 0; i < items.size() && most > 0; ++i) {
    if (judgements[i].right) continue;
    --most;
    const std::string_view wanted = AnswerText(items[i].expected);
    fmt::print("  {}: expected \"{}\", got \"{}\"\n", items[i].id, wanted, answers[i].text);
  }
}

Status RunEvaluate(const EvaluateFlags& flags) {
  if (!flags.against_kv_type.empty() && flags.against.empty())
    return Error{"--against-kv-type is the second model's: give one with --against"};
  ASSIGN_OR_RETURN(std::vector<TaskItem> items, ReadTask(flags.task));
  if (flags.questions > 0 && flags.questions < items.size()) items.resize(flags.questions);
  std::vector<int32_t> clusters;
  for (const TaskItem& item : items) clusters.push_back(item.cluster);
  ASSIGN_OR_RETURN(
      const std::vector<Answer> answers,
      AnswerTask(flags.model, flags.model.model, items, flags.max_tokens, AnswerProgressLine()));
  const std::vector<Judgement> judged = JudgeAll(items, answers);
  const TaskScore score = ScoreTask(judged, clusters);
  nlohmann::ordered_json out = {
      {"model", flags.model.model.empty() ? "embedded demo model" : flags.model.model},
      {"task", flags.task}};
  out.update(ToJson(score));
  if (!flags.json) PrintScore(out["model"], score);
  if (!flags.json) ShowWrong(items, answers, judged, flags.show);
  if (!flags.against.empty()) {
    ModelFlags second = flags.model;
    if (!flags.against_kv_type.empty()) second.kv_type = flags.against_kv_type;
    ASSIGN_OR_RETURN(
        const std::vector<Answer> others,
        AnswerTask(second, flags.against, items, flags.max_tokens, AnswerProgressLine()));
    const std::vector<Judgement> other = JudgeAll(items, others);
    const TaskComparison c = CompareTasks(judged, other, clusters);
    out["against"] = {{"model", flags.against}};
    out["against"].update(ToJson(ScoreTask(other, clusters)));
    out["comparison"] = ToJson(c);
    if (!flags.json) {
      PrintScore(flags.against, ScoreTask(other, clusters));
      fmt::print(
          "{} answers right in the first are wrong in the second, {} the other way; McNemar p = "
          "{:.3g}; difference {:+.4f} ({:+.4f} to {:+.4f})\n",
          c.lost, c.gained, c.mcnemar_p, c.difference, c.difference_interval.low,
          c.difference_interval.high);
    }
  }
  if (flags.json) std::puts(out.dump(2).c_str());
  return {};
}

}  // namespace

void AddEvaluateVerb(CommandLine& line) {
  auto flags = std::make_shared<EvaluateFlags>();
  Verb verb = line.AddVerb("evaluate", "How many of a task's questions a model answers rightly");
  AddModelFlags(verb, flags->model);
  AddPrefixCacheFlags(verb, flags->model);
  verb.Find("model").Required();
  verb.Option("task", flags->task, "JSONL (src/lab/task.h); demo: the built-in task").Required();
  verb.Option("--against", flags->against, "a second model: flips both ways and McNemar");
  verb.Option(
      "--against-kv-type", flags->against_kv_type,
      "the second model's KV cache element (default: as --kv-type); the same file may stand "
      "on both sides");
  verb.Option("--max-tokens", flags->max_tokens, "longest answer").ShowDefault().Range(1, 1 << 20);
  verb.Option("--questions", flags->questions, "only the first so many; 0: all").ShowDefault();
  verb.Option("--show", flags->show, "print so many wrong answers").ShowDefault();
  verb.Switch("--json", flags->json, "as JSON");
  verb.OnParsed([flags] { return RunEvaluate(*flags); });
}

}  // namespace millrace
