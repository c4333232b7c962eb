// millrace reduce QUESTIONS: what each setting of prompt reduction keeps, costs and risks, on
// questions with known answers; which setting to take. The quality figures are computed here, the
// times and answers are those of a server started for it.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/atomic_file.h"
#include "command_line.h"
#include "lab/reduction_report.h"
#include "lab/reduction_study.h"
#include "model_loading.h"
#include "prompt_reduction/candidates.h"
#include "reduce_asking.h"
#include "reporting.h"
#include "side_models.h"
#include "verbs.h"

namespace millrace {
namespace {

constexpr size_t kLargestQuestions = size_t{1} << 30;

struct ReduceFlags {
  std::string questions;
  ModelFlags model;
  std::string store;
  std::string embedding_model;
  std::string out;
  std::string system;
  std::string serve_flags;
  size_t first = 0;
  size_t asked = 100;
  size_t most = 10;
  int32_t max_tokens = 64;
  double margin = 2;
  uint64_t seed = 1;
  bool answer = false;
  bool json = false;
};

// What a question's passages are chosen from: ranked once for all settings.
class CandidateSource {
 public:
  // Searches the store's vectors, too, where it holds some and the model is named.
  static Result<CandidateSource> Open(const std::string& file, const std::string& embedding_model) {
    CandidateSource source;
    if (file.empty()) return source;
    ASSIGN_OR_RETURN(source.vectors_, LoadVectorModel(embedding_model));
    ASSIGN_OR_RETURN(PassageStore store, PassageStore::Open(file, PassageStore::Access::kRead));
    if (source.vectors_) {
      const Status used = store.UseModel(source.vectors_->model);
      if (!used.ok()) return Error{file + " " + used.error().message};
    }
    source.store_ = std::make_unique<PassageStore>(std::move(store));
    return source;
  }
  Result<Candidates> For(const StudyQuestion& question, const ReductionConfig& config) {
    if (store_) return CandidatesFrom(*store_, question.question, kStoreDepth);
    return CandidatesOf(question.question, question.documents, config.chunk_tokens);
  }

 private:
  std::unique_ptr<LoadedVectors> vectors_;  // before the store, which refers to it
  std::unique_ptr<PassageStore> store_;
};

Result<StudyOutcomes> KeepPassages(const std::vector<StudyQuestion>& questions,
                                   const std::vector<StudySetting>& settings,
                                   const ReduceFlags& flags, const TokenCounter& count) {
  ASSIGN_OR_RETURN(CandidateSource source,
                   CandidateSource::Open(flags.store, flags.embedding_model));
  StudyOutcomes outcomes(settings.size());
  for (const StudyQuestion& question : questions) {
    ASSIGN_OR_RETURN(const Candidates candidates, source.For(question, ReductionConfig()));
    for (size_t s = 0; s < settings.size(); ++s) {
      const ReductionConfig& config = settings[s].config;
      if (config.mode != ReductionMode::kOff) {
        outcomes[s].push_back(ScoreSelection(question, ReduceRanked(candidates, config, count)));
        continue;
      }
      ASSIGN_OR_RETURN(const ReducedPrompt all,
                       ReducePrompt(question.question, question.documents, config, count));
      outcomes[s].push_back(ScoreSelection(question, all));
    }
  }
  return outcomes;
}

Result<std::vector<StudyQuestion>> ReadQuestions(const ReduceFlags& flags) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(flags.questions, kLargestQuestions));
  ASSIGN_OR_RETURN(auto questions, ParseStudyQuestions(text, flags.questions));
  if (flags.first > 0 && flags.first < questions.size()) questions.resize(flags.first);
  const auto own = static_cast<size_t>(
      std::count_if(questions.begin(), questions.end(),
                    [](const StudyQuestion& q) { return !q.documents.empty(); }));
  if (flags.store.empty() && own < questions.size()) {
    return Error{"give --store FILE, or \"documents\" in every line of " + flags.questions};
  }
  if (flags.store.empty() && !flags.embedding_model.empty()) {
    return Error{"--embedding-model is for the vectors of a --store"};
  }
  if (!flags.store.empty() && own > 0) {
    return Error{"the lines of " + flags.questions + " carry \"documents\": leave out --store"};
  }
  return questions;
}

std::vector<std::pair<std::string, std::string>> About(const ReduceFlags& flags, size_t questions,
                                                       int64_t failed) {
  return {{"questions", fmt::format("{} of {}", questions, flags.questions)},
          {"passages", flags.store.empty() ? "the questions' own" : flags.store},
          {"model", flags.model.model.empty() ? "embedded demo model" : flags.model.model},
          {"asked", fmt::format("{} of them, one at a time{}", std::min(flags.asked, questions),
                                failed > 0 ? fmt::format("; {} requests failed", failed) : "")},
          {"seed", std::to_string(flags.seed)},
          {"millrace", MILLRACE_VERSION}};
}

Status WriteReports(const ReduceFlags& flags, const StudyReport& report) {
  if (flags.json) {
    std::puts(StudyJson(report).c_str());
  } else {
    std::fputs(StudyTable(report).c_str(), stdout);
  }
  if (flags.out.empty()) return {};
  std::error_code code;
  std::filesystem::create_directories(flags.out, code);
  if (code) return Error{flags.out + ": " + code.message(), ErrorKind::kIo};
  const std::filesystem::path folder = flags.out;
  RETURN_IF_ERROR(WriteAtomically(folder / "reduction.html", StudyHtml(report)));
  RETURN_IF_ERROR(WriteAtomically(folder / "reduction.json", StudyJson(report)));
  return WriteAtomically(folder / "reduction.txt", StudyTable(report));
}

Status RunReduce(const ReduceFlags& flags) {
  ASSIGN_OR_RETURN(const auto questions, ReadQuestions(flags));
  ASSIGN_OR_RETURN(const MappedGguf mapped, OpenModelFile(flags.model));
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromGguf(mapped.file()));
  const TokenCounter count = [&](std::string_view text) {
    return static_cast<int64_t>(tokenizer.Encode(text, SpecialTokens::kAsText).size());
  };
  const auto settings = StudySettings(
      flags.most, flags.store.empty() ? StudySource::kOwnPassages : StudySource::kStore);
  ASSIGN_OR_RETURN(StudyOutcomes outcomes, KeepPassages(questions, settings, flags, count));
  AskingOptions asking;
  asking.model = flags.model.model;
  asking.store = flags.store;
  asking.embedding_model = flags.embedding_model;
  asking.system = flags.system;
  asking.serve_flags = flags.serve_flags;
  asking.questions = std::min(flags.asked, questions.size());
  asking.max_tokens = flags.answer ? flags.max_tokens : 1;
  asking.judge = flags.answer;
  asking.seed = flags.seed;
  ASSIGN_OR_RETURN(const int64_t failed, AskServer(asking, settings, questions, outcomes));
  const auto rows = SummariseStudy(settings, questions, outcomes);
  const auto advice = RecommendReduction(settings, questions, outcomes, flags.margin / 100);
  return WriteReports(flags, {rows, advice, About(flags, questions.size(), failed)});
}

}  // namespace

void AddReduceVerb(CommandLine& line) {
  auto flags = std::make_shared<ReduceFlags>();
  Verb verb =
      line.AddVerb("reduce", "What prompt reduction keeps, costs and risks, for each setting");
  verb.Option("questions", flags->questions,
              "JSONL: {\"question\", \"answers\", \"relevant\", \"documents\", \"expected\"} "
              "(src/lab/reduction_study.h)")
      .Required();
  AddModelFileFlag(verb, flags->model);
  verb.Option("--store", flags->store, "the store (millrace index) that is searched");
  AddVectorModelFlag(verb, flags->embedding_model);
  verb.Option("--most", flags->most, "settings top:1 to top:N, and auto")
      .ShowDefault()
      .Range(2, 50);
  verb.Option("--questions", flags->first, "only the first so many; 0: all").ShowDefault();
  verb.Option("--ask", flags->asked, "ask a server so many of them under each setting; 0: none")
      .ShowDefault()
      .Range(0, 100'000);
  verb.Switch("--answer", flags->answer, "judge the answers, too: exact match and F1");
  verb.Option("--max-tokens", flags->max_tokens, "longest answer").ShowDefault().Range(1, 1 << 20);
  verb.Option("--system", flags->system, "system message of the requests");
  verb.Option("--margin", flags->margin, "points of quality that a setting may lose")
      .ShowDefault()
      .RealRange(0.1, 50);
  verb.Option("--serve-flags", flags->serve_flags, "further flags of the server, as one text");
  verb.Option("--seed", flags->seed, "of the order of requests").ShowDefault();
  verb.Option("--out", flags->out, "a folder for reduction.html, .json and .txt");
  verb.Switch("--json", flags->json, "as JSON");
  verb.OnParsed([flags] { return RunReduce(*flags); });
}

}  // namespace millrace
