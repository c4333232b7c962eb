// What a workload looks like, and which optimisations it can measure at all.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lab/workload.h"

namespace millrace {

// The token ids of a request's whole prompt, as the server would make them; of an answer's text.
struct WorkloadTokenizer {
  std::function<std::vector<int32_t>(const WorkloadRequest&)> prompt;
  std::function<std::vector<int32_t>(std::string_view)> text;
};

struct LengthSummary {
  size_t count = 0;  // of requests that have it
  double mean = 0, median = 0, p95 = 0, longest = 0;
};

struct WorkloadSummary {
  size_t requests = 0;
  size_t sessions = 0;
  size_t with_text = 0, with_passages = 0, with_expected = 0, with_answer = 0;
  double seconds = 0;  // from the first arrival to the last
  double requests_per_second = 0;
  // Of the gaps between arrivals: standard deviation / mean. 1 for Poisson, more for bursts.
  double arrival_variation = 0;
  LengthSummary input, output, documents;  // tokens, tokens, passages
  // Prompt tokens that a cache without bounds would find, in blocks of 32 (or of the trace's
  // hashes), as a share; at least one token of each prompt is computed.
  double shared_prefix = 0;
  // Of recorded answers' tokens, those that stand where the last two tokens stood before, in prompt
  // or answer: what drafting by lookup could guess.
  double lookup_repetition = 0;
  size_t repetition_tokens = 0;  // 0: no answers to look at
  // One sentence each.
  std::vector<std::string> can_measure, cannot_measure;
};

WorkloadSummary Summarize(const Workload& workload, const WorkloadTokenizer& tokenizer);

// How many of `answer`'s tokens follow, in `prompt` and the answer so far, the latest earlier
// place of the two tokens before them.
size_t LookupHits(const std::vector<int32_t>& prompt, const std::vector<int32_t>& answer);

}  // namespace millrace
