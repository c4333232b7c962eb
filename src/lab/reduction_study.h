// What prompt reduction keeps and what it costs, for each of its settings on the same questions,
// and which setting to take. Pure: who asks a server puts its times and answers in.
//
// Invariant: every setting is judged on the same questions, so that differences are paired. The
// recommendation follows a rule that is fixed before anything is measured (RecommendReduction).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "lab/statistics.h"
#include "lab/task.h"
#include "prompt_reduction/reduce.h"

namespace millrace {

// A line of JSONL: {"question", "answers": ["..."], "relevant": ["id"], "documents": [{"id",
// "text", "title"}], "expected", "group"}. answers: one must stand in a kept passage, letter for
// letter; relevant: documents that hold the answer; documents: the question's own passages, where
// it is not put to a store; expected: what the model should say, as in lab/task.h, else one of
// `answers`, exactly; group: questions that depend on each other. All but the question are
// optional.
struct StudyQuestion {
  std::string question;
  std::vector<std::string> answers;
  std::vector<std::string> relevant;
  std::vector<Passage> documents;
  std::optional<Expectation> expected;
  int32_t cluster = 0;
};
// Errors name the line. A file without questions is an error.
Result<std::vector<StudyQuestion>> ParseStudyQuestions(std::string_view jsonl,
                                                       const std::string& name);

struct StudySetting {
  std::string name;  // as the switch is written: "top:3", "auto"
  ReductionConfig config;
};
// top:1 to top:`most`, then auto (which keeps at most `most`), and, for questions that carry their
// own passages, off: all of them.
enum class StudySource { kStore, kOwnPassages };
std::vector<StudySetting> StudySettings(size_t most, StudySource source);
// What the others are compared with where none is better: off; for a store, where that would be all
// of it, top:`most`.
size_t ReferenceSetting(std::span<const StudySetting> settings);

// Of one question under one setting.
struct StudyOutcome {
  size_t kept = 0;
  int64_t passage_tokens = 0;
  std::optional<bool> covered;   // absent: the question has no `answers`
  std::optional<double> recall;  // kept documents of `relevant`; absent: it has none
  std::optional<double> ndcg;    // at 10, of documents, gain 1 (Jarvelin and Kekalainen 2002)
  // Where a server was asked.
  struct Asked {
    int64_t prompt_tokens = 0;
    int64_t reused_tokens = 0;  // of the prompt, where other questions were asked before
    double cold_ms = 0;         // to the first token, the prefix cache unused
    double warm_ms = 0;         // and where the same was asked before
    std::optional<Judgement> judged;
  };
  std::optional<Asked> asked;
};
// Without `asked`.
StudyOutcome ScoreSelection(const StudyQuestion& question, const ReducedPrompt& reduced);

struct StudyMean {
  double mean = 0;
  Interval interval;  // 95 %: Wilson's for shares of independent questions, else the bootstrap
  int64_t count = 0;
};
struct StudyRow {
  std::string setting;
  double kept = 0;
  double passage_tokens = 0;
  std::optional<StudyMean> coverage, recall, ndcg;
  int64_t asked = 0;
  double prompt_tokens = 0, reused_tokens = 0;
  std::optional<StudyMean> cold_ms, warm_ms;
  std::optional<StudyMean> exact_match, f1;
};
// outcomes[setting][question].
using StudyOutcomes = std::vector<std::vector<StudyOutcome>>;
std::vector<StudyRow> SummariseStudy(std::span<const StudySetting> settings,
                                     std::span<const StudyQuestion> questions,
                                     const StudyOutcomes& outcomes);

// By answers where the model was asked for them, else by coverage, else by recall of 1.
enum class StudyQuality { kAnswers, kCoverage, kRecall };
std::string_view NameOf(StudyQuality quality);

struct StudyRecommendation {
  StudyQuality quality = StudyQuality::kCoverage;
  std::string reference;
  double margin = 0;
  struct Candidate {
    std::string setting;
    double difference = 0;       // of the share of good questions, against the reference
    Interval interval;           // 95 %
    double adjusted_p = 1;       // that it loses `margin` or more; Holm over the candidates
    bool shown_to_hold = false;  // adjusted_p <= 0.05
  };
  std::vector<Candidate> candidates;
  std::string setting;  // empty: undecided
  std::string reason;   // a sentence
};
// The setting of the fewest passage tokens among those shown to lose less than `margin` of quality
// against the reference, which is the setting that is best on these questions (more passages may
// be worse for the answers; chosen by what is judged, it is flattered, which makes the rule only
// stricter): a one-sided test at 5 %, paired, Holm over the candidates; none:
// undecided. Standard error: of paired shares with half an observation added to each way a question
// can change (Agresti and Min 2005), so that no change in a few questions proves nothing; by
// clusters where that is more.
StudyRecommendation RecommendReduction(std::span<const StudySetting> settings,
                                       std::span<const StudyQuestion> questions,
                                       const StudyOutcomes& outcomes, double margin = 0.02);

}  // namespace millrace
