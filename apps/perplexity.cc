// millrace perplexity MODEL FILE: how well a model predicts a text, and with --reference how far
// its predictions are from another file's: KL divergence, top-1 agreement, errors by document.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/clock.h"
#include "command_line.h"
#include "documents.h"
#include "quality_json.h"
#include "reporting.h"
#include "verbs.h"

namespace millrace {
namespace {

struct PerplexityFlags {
  ModelFlags model;
  std::string file;
  std::string reference;
  std::string reference_kv_type;
  std::string score = "all";
  DocumentOptions documents;
  bool json = false;
};

void PrintQuality(const PerplexityFlags& flags, const QualitySummary& q) {
  fmt::print("perplexity      {:.4f}  (95 % interval {:.4f} to {:.4f})\n", q.perplexity,
             q.perplexity_interval.low, q.perplexity_interval.high);
  fmt::print("loss            {:.5f} +- {:.5f} nats a token; {} tokens, {} documents\n",
             q.loss.mean, q.loss.standard_error, q.loss.count, q.loss.clusters);
  if (flags.reference.empty()) return;
  fmt::print("ln ratio        {:+.5f} +- {:.5f}  (against the reference's perplexity)\n",
             q.log_ratio.mean, q.log_ratio.standard_error);
  fmt::print("KL mean         {:.6f} +- {:.6f} nats\n", q.divergence.mean,
             q.divergence.standard_error);
  fmt::print("KL p99          {:.6f}  (95 % interval {:.6f} to {:.6f})\n", q.divergence_p99,
             q.divergence_p99_interval.low, q.divergence_p99_interval.high);
  fmt::print("same top token  {:.5f} +- {:.5f}\n", q.same_top.mean, q.same_top.standard_error);
}

Status RunPerplexity(PerplexityFlags& flags) {
  if (!flags.reference_kv_type.empty() && flags.reference.empty())
    return Error{"--reference-kv-type is the reference's: give one with --reference"};
  if (flags.score == "answers") flags.documents.part = ScoredPart::kAnswers;
  ASSIGN_OR_RETURN(LoadedModel loaded, LoadModel(flags.model));
  std::optional<LoadedModel> reference;
  if (!flags.reference.empty()) {
    ModelFlags other = flags.model;
    other.model = flags.reference;
    if (!flags.reference_kv_type.empty()) other.kv_type = flags.reference_kv_type;
    ASSIGN_OR_RETURN(LoadedModel opened, LoadModel(other));
    reference.emplace(std::move(opened));
  }
  ASSIGN_OR_RETURN(const std::vector<Document> documents,
                   ReadDocuments(flags.file, loaded, flags.documents));
  ScoreOptions options;
  options.kv_type = loaded.kv_type;
  if (reference) options.reference_kv_type = reference->kv_type;
  options.isa = loaded.isa;
  options.step_rows = flags.model.step_tokens;
  int64_t tokens = 0;
  const auto progress = [&tokens](int64_t done, int64_t total) {
    tokens = done;
    if (isatty(STDERR_FILENO) == 0) return;
    std::fprintf(stderr, "\rscored: %ld of %ld tokens", static_cast<long>(done),
                 static_cast<long>(total));
    if (done == total) std::fprintf(stderr, "\r\033[K");
  };
  const Clock clock;
  const TimePoint start = clock.Now();
  ASSIGN_OR_RETURN(const std::vector<TokenScore> scores,
                   ScoreDocuments(*loaded.model, reference ? reference->model.get() : nullptr,
                                  documents, options, *loaded.pool, progress));
  const double seconds = Seconds(clock.Now() - start);
  const QualitySummary summary = Summarise(scores);
  const double speed = static_cast<double>(tokens) * (reference ? 2 : 1) / seconds;
  if (!flags.json) {
    PrintQuality(flags, summary);
    fmt::print("speed           {:.0f} tokens/s\n", speed);
    return {};
  }
  nlohmann::ordered_json out = {{"model", loaded.id}, {"file", flags.file}, {"score", flags.score}};
  if (reference) out["reference"] = reference->id;
  out.update(ToJson(summary, reference.has_value()));
  out["seconds"] = seconds;
  out["tokens_per_second"] = speed;
  std::puts(out.dump(2).c_str());
  return {};
}

}  // namespace

void AddPerplexityVerb(CommandLine& line) {
  auto flags = std::make_shared<PerplexityFlags>();
  Verb verb =
      line.AddVerb("perplexity", "How well a model predicts a text, and how near to another model");
  AddModelFlags(verb, flags->model);
  verb.Find("model").Required();
  verb.Option("file", flags->file,
              "plain text; or JSONL with a \"text\", or a question and its answer, per line; "
              "demo: the built-in task")
      .Required();
  verb.Option("--reference", flags->reference,
              "the unquantised file: adds KL divergence and top-1 agreement");
  verb.Option("--reference-kv-type", flags->reference_kv_type,
              "the reference's KV cache element (default: as --kv-type); with the same file as the "
              "reference: what --kv-type costs");
  verb.Option("--score", flags->score, "all tokens, or with questions the answers only")
      .ShowDefault()
      .OneOf({"all", "answers"});
  verb.Option("--window", flags->documents.window,
              "tokens of plain text that are read together; the second half is scored")
      .ShowDefault()
      .Range(8, 1 << 20);
  verb.Option("--max-tokens", flags->documents.max_tokens, "stop after about so many; 0: all")
      .ShowDefault()
      .NonNegative();
  verb.Switch("--json", flags->json, "as JSON");
  verb.OnParsed([flags] { return RunPerplexity(*flags); });
}

}  // namespace millrace
