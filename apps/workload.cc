// millrace workload summary|print WORKLOAD: what a workload looks like and what it can measure; or
// the workload itself, generated or read, in Millrace's own form.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "command_line.h"
#include "lab/workload_generators.h"
#include "reporting.h"
#include "verbs.h"
#include "workload_reading.h"

namespace millrace {
namespace {

struct WorkloadVerbFlags {
  WorkloadFlags workload;
  ModelFlags model;
  std::string action;
  std::string arrivals = "recorded";
  double rate = 0;
  bool json = false;
};

nlohmann::ordered_json ToJson(const LengthSummary& s) {
  return {{"count", s.count},
          {"mean", s.mean},
          {"median", s.median},
          {"p95", s.p95},
          {"longest", s.longest}};
}

void PrintJsonSummary(const Workload& workload, const WorkloadSummary& s) {
  const nlohmann::ordered_json out = {{"format", workload.format},
                                      {"requests", s.requests},
                                      {"skipped", workload.skipped.size()},
                                      {"sessions", s.sessions},
                                      {"with_text", s.with_text},
                                      {"with_passages", s.with_passages},
                                      {"with_expected", s.with_expected},
                                      {"seconds", s.seconds},
                                      {"requests_per_second", s.requests_per_second},
                                      {"arrival_variation", s.arrival_variation},
                                      {"input_tokens", ToJson(s.input)},
                                      {"output_tokens", ToJson(s.output)},
                                      {"passages", ToJson(s.documents)},
                                      {"shared_prefix", s.shared_prefix},
                                      {"lookup_repetition", s.lookup_repetition},
                                      {"repetition_tokens", s.repetition_tokens},
                                      {"can_measure", s.can_measure},
                                      {"cannot_measure", s.cannot_measure}};
  std::puts(out.dump(2).c_str());
}

void PrintLengths(const char* name, const LengthSummary& s) {
  if (s.count == 0) return;
  fmt::print("{:<16} mean {:.1f}, median {:.0f}, 95th percentile {:.0f}, longest {:.0f}\n", name,
             s.mean, s.median, s.p95, s.longest);
}

void PrintSummary(const Workload& workload, const WorkloadSummary& s) {
  fmt::print("{} requests ({}) in {} sessions; {} lines skipped\n", s.requests, workload.format,
             s.sessions, workload.skipped.size());
  for (const std::string& line : workload.skipped) fmt::print("  {}\n", line);
  if (workload.timed) {
    fmt::print(
        "arrivals         {:.3g} a second over {:.0f} s; gaps vary by {:.2f} of their mean (1: "
        "Poisson, more: bursts)\n",
        s.requests_per_second, s.seconds, s.arrival_variation);
  }
  PrintLengths("input tokens", s.input);
  PrintLengths("output tokens", s.output);
  PrintLengths("passages", s.documents);
  fmt::print("shared prefixes  {:.1f} % of the prompt tokens were seen before (unlimited cache)\n",
             100 * s.shared_prefix);
  if (s.repetition_tokens > 0) {
    fmt::print("repetition       {:.1f} % of {} answer tokens could be looked up\n",
               100 * s.lookup_repetition, s.repetition_tokens);
  }
  fmt::print("it can measure\n");
  for (const std::string& line : s.can_measure) fmt::print("  {}\n", line);
  fmt::print("it cannot measure\n");
  for (const std::string& line : s.cannot_measure) fmt::print("  {}\n", line);
}

Status RunWorkload(const WorkloadVerbFlags& flags) {
  ASSIGN_OR_RETURN(Workload workload, ReadWorkload(flags.workload));
  if (flags.arrivals != "recorded") {
    if (!(flags.rate > 0)) return Error{"--arrivals poisson and bursty need a --rate"};
    SetArrivals(workload,
                flags.arrivals == "poisson" ? ArrivalPattern::kPoisson : ArrivalPattern::kBursty,
                flags.rate, flags.workload.seed);
  }
  if (flags.action == "print") {
    for (const WorkloadRequest& request : workload.requests)
      std::puts(ToWorkloadLine(request).c_str());
    return {};
  }
  ASSIGN_OR_RETURN(const WorkloadModel model, LoadWorkloadModel(flags.model));
  const WorkloadSummary summary = Summarize(workload, model.tokenizer);
  if (flags.json) {
    PrintJsonSummary(workload, summary);
  } else {
    PrintSummary(workload, summary);
  }
  return {};
}

}  // namespace

void AddWorkloadVerb(CommandLine& line) {
  auto flags = std::make_shared<WorkloadVerbFlags>();
  Verb verb = line.AddVerb("workload", "Look at a workload, or make one");
  verb.Option("action", flags->action,
              "summary: lengths, arrivals, shared prefixes, and what it can measure; print: the "
              "requests, in Millrace's own form")
      .Required()
      .OneOf({"summary", "print"});
  AddWorkloadFlags(verb, flags->workload);
  verb.Option("--model", flags->model.model,
              "a GGUF file whose tokens count (default: the embedded model's)");
  verb.Option("--arrivals", flags->arrivals, "recorded, poisson or bursty")
      .ShowDefault()
      .OneOf({"recorded", "poisson", "bursty"});
  verb.Option("--rate", flags->rate, "requests a second, for poisson and bursty");
  verb.Switch("--json", flags->json, "as JSON");
  verb.OnParsed([flags] { return RunWorkload(*flags); });
}

}  // namespace millrace
