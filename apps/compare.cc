// millrace compare MODEL...: one table of what each file costs and what it is worth: size, memory,
// speed on this machine, perplexity, KL against the first, task score, and a verdict.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>

#include "answering.h"
#include "base/atomic_file.h"
#include "command_line.h"
#include "compare_report.h"
#include "reporting.h"
#include "speed.h"
#include "verbs.h"

namespace millrace {
namespace {

struct CompareFlags {
  ModelFlags model;
  std::vector<std::string> models;
  std::string task;
  std::string text;
  std::string html;
  std::string markdown;
  size_t questions = 0;
  int32_t max_tokens = 64;
  int64_t text_tokens = 20000;
  bool json = false;
};

constexpr int32_t kPrompt = 256, kGenerate = 32, kRepeats = 3;

// "Q4_K 24, Q6_K 5".
std::string PrecisionOf(const GgufFile& file) {
  std::map<std::string, int64_t> bytes;
  for (const GgufTensor& t : file.tensors()) {
    if (t.shape.size() >= 2)
      bytes[std::string(NameOf(t.type))] += static_cast<int64_t>(t.data.size());
  }
  std::vector<std::pair<int64_t, std::string>> sorted;
  for (const auto& [name, count] : bytes) sorted.emplace_back(-count, name);
  std::sort(sorted.begin(), sorted.end());
  std::string text;
  for (const auto& [count, name] : sorted) text += (text.empty() ? "" : "+") + name;
  return text;
}

Status MeasureSpeed(LoadedModel& loaded, ComparedModel& row) {
  ASSIGN_OR_RETURN(KvStore kv, KvStore::Create(loaded.info.kv_shape, loaded.kv_type,
                                               BlocksFor(kPrompt + kGenerate)));
  SpeedProbe probe(loaded, std::move(kv), kPrompt);
  std::vector<double> prefill, decode;
  for (int i = -1; i < kRepeats; ++i) {  // the first is a warm-up
    const double p = probe.Prefill(1, kPrompt, 0), d = probe.Decode(1, kGenerate, 0);
    if (i < 0) continue;
    prefill.push_back(p);
    decode.push_back(d);
  }
  row.prefill = Median(prefill);
  row.decode = Median(decode);
  return {};
}

class Comparison {
 public:
  explicit Comparison(const CompareFlags& flags) : flags_(flags) {}

  Result<std::vector<ComparedModel>> Run() {
    if (!flags_.task.empty()) {
      ASSIGN_OR_RETURN(items_, ReadTask(flags_.task));
      if (flags_.questions > 0 && flags_.questions < items_.size()) items_.resize(flags_.questions);
      for (const TaskItem& item : items_) clusters_.push_back(item.cluster);
    }
    std::vector<ComparedModel> rows;
    for (const std::string& path : flags_.models) {
      ASSIGN_OR_RETURN(ComparedModel row, Measure(path));
      if (!rows.empty()) row.verdict = Judge(rows[0], row);
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  Result<ComparedModel> Measure(const std::string& path) {
    ModelFlags own = flags_.model;
    own.model = path;
    ComparedModel row;
    {
      ASSIGN_OR_RETURN(const MappedGguf file, OpenModelFile(own));
      row.precision = PrecisionOf(file.file());
    }
    std::error_code ignored;
    row.file_bytes = static_cast<int64_t>(std::filesystem::file_size(path, ignored));
    ASSIGN_OR_RETURN(LoadedModel loaded, LoadModel(own));
    row.name = loaded.id;
    row.memory_bytes =
        loaded.info.weight_bytes +
        BlocksFor(loaded.max_positions) * KvStore::BlockBytes(loaded.info.kv_shape, loaded.kv_type);
    RETURN_IF_ERROR(MeasureSpeed(loaded, row));
    RETURN_IF_ERROR(MeasureQuality(loaded, row));
    const bool first = !reference_.has_value();
    if (!items_.empty()) RETURN_IF_ERROR(MeasureTask(own, loaded, row));
    if (first) {
      // Its engine took the model; the next rows need it again, for the divergence.
      if (!items_.empty()) {
        ASSIGN_OR_RETURN(loaded, LoadModel(own));
      }
      reference_.emplace(std::move(loaded));
    }
    return row;
  }

  Status MeasureQuality(LoadedModel& loaded, ComparedModel& row) {
    const std::string text = flags_.text.empty() ? flags_.task : flags_.text;
    if (text.empty()) return {};
    DocumentOptions documents;
    documents.max_tokens = flags_.text_tokens;
    ASSIGN_OR_RETURN(const auto read, ReadDocuments(text, loaded, documents));
    ScoreOptions options;
    options.kv_type = loaded.kv_type;
    options.isa = loaded.isa;
    ASSIGN_OR_RETURN(const auto scores,
                     ScoreDocuments(*loaded.model, reference_ ? reference_->model.get() : nullptr,
                                    read, options, *loaded.pool));
    row.quality = Summarise(scores);
    return {};
  }

  Status MeasureTask(const ModelFlags& own, LoadedModel& loaded, ComparedModel& row) {
    ASSIGN_OR_RETURN(const auto answers,
                     AnswerTask(own, loaded, items_, flags_.max_tokens, AnswerProgressLine()));
    std::vector<Judgement> judged;
    for (size_t i = 0; i < items_.size(); ++i)
      judged.push_back(Judge(items_[i].expected, answers[i].text));
    row.task = ScoreTask(judged, clusters_);
    if (reference_judged_.empty()) {
      reference_judged_ = std::move(judged);
    } else {
      row.against_reference = CompareTasks(reference_judged_, judged, clusters_);
    }
    return {};
  }

  const CompareFlags& flags_;
  std::vector<TaskItem> items_;
  std::vector<int32_t> clusters_;
  std::optional<LoadedModel> reference_;
  std::vector<Judgement> reference_judged_;
};

Status RunCompare(const CompareFlags& flags) {
  ASSIGN_OR_RETURN(const std::vector<ComparedModel> rows, Comparison(flags).Run());
  const std::string machine = fmt::format(
      "Speed: prefill of {} tokens, {} decode steps, medians of {}.", kPrompt, kGenerate, kRepeats);
  if (!flags.html.empty()) RETURN_IF_ERROR(WriteAtomically(flags.html, HtmlPage(rows, machine)));
  if (!flags.markdown.empty())
    RETURN_IF_ERROR(WriteAtomically(flags.markdown, MarkdownTable(rows)));
  if (flags.json) {
    std::puts(JsonTable(rows).dump(2).c_str());
  } else {
    std::fputs(TextTable(rows).c_str(), stdout);
  }
  return {};
}

}  // namespace

void AddCompareVerb(CommandLine& line) {
  auto flags = std::make_shared<CompareFlags>();
  Verb verb = line.AddVerb("compare",
                           "One table: what each model file costs and what it is worth on a task");
  AddModelFlags(verb, flags->model);
  verb.Remove("model");
  verb.Option("models", flags->models, "GGUF files; the first is the reference")
      .Placeholder("MODEL")
      .Required();
  verb.Option("--task", flags->task, "JSONL questions (src/lab/task.h); demo: the built-in task");
  verb.Option("--text", flags->text,
              "a text for perplexity and KL (default: the task's questions and answers)");
  verb.Option("--text-tokens", flags->text_tokens, "of it, about so many tokens; 0: all")
      .ShowDefault()
      .NonNegative();
  verb.Option("--questions", flags->questions, "only the first so many; 0: all").ShowDefault();
  verb.Option("--max-tokens", flags->max_tokens, "longest answer").ShowDefault().Range(1, 1 << 20);
  verb.Option("--html", flags->html, "write a self-contained page with the plot here");
  verb.Option("--markdown", flags->markdown, "write the table as Markdown here");
  verb.Switch("--json", flags->json, "as JSON");
  verb.OnParsed([flags] { return RunCompare(*flags); });
}

}  // namespace millrace
