#include "lab/workload_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/rng.h"
#include "lab/statistics.h"
#include "paged_kv/block_pool.h"

namespace millrace {
namespace {

LengthSummary SummaryOfLengths(const std::vector<double>& values) {
  LengthSummary s;
  s.count = values.size();
  if (values.empty()) return s;
  s.mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  s.median = Quantile(values, 0.5);
  s.p95 = Quantile(values, 0.95);
  s.longest = *std::max_element(values.begin(), values.end());
  return s;
}

// Remembers every beginning, for ever.
class IdealCache {
 public:
  // How many tokens of the prompt were there; puts the rest in. Each of `blocks` stands for
  // `block_tokens` tokens of the prompt's `tokens`.
  int64_t Look(const std::vector<uint64_t>& blocks, int64_t block_tokens, int64_t tokens) {
    uint64_t chain = 0;
    int64_t found = 0;
    bool all = true;
    for (const uint64_t block : blocks) {
      chain = Mix64(chain ^ Mix64(block));
      all = !seen_.insert(chain).second && all;
      if (all) found += block_tokens;
    }
    return std::clamp<int64_t>(found, 0, tokens - 1);
  }

 private:
  std::unordered_set<uint64_t> seen_;
};

// Whole blocks only: a partly filled one is not shared.
std::vector<uint64_t> BlocksOf(const std::vector<int32_t>& tokens) {
  std::vector<uint64_t> blocks;
  for (size_t at = 0; at + kBlockTokens <= tokens.size(); at += kBlockTokens) {
    uint64_t hash = 0;
    for (size_t i = at; i < at + kBlockTokens; ++i)
      hash = Mix64(hash ^ static_cast<uint64_t>(tokens[i]));
    blocks.push_back(hash);
  }
  return blocks;
}

void SummarizeArrivals(const Workload& workload, WorkloadSummary& s) {
  if (!workload.timed || workload.requests.size() < 2) return;
  std::vector<double> gaps;
  for (size_t i = 1; i < workload.requests.size(); ++i)
    gaps.push_back(workload.requests[i].arrival_seconds - workload.requests[i - 1].arrival_seconds);
  s.seconds = workload.requests.back().arrival_seconds;
  const double mean = s.seconds / static_cast<double>(gaps.size());
  if (mean <= 0) return;
  double squares = 0;
  for (const double gap : gaps) squares += (gap - mean) * (gap - mean);
  s.requests_per_second = 1 / mean;
  s.arrival_variation = std::sqrt(squares / static_cast<double>(gaps.size())) / mean;
}

// The answer of a request as far as the file tells: recorded, or expected to the letter.
std::string AnswerOf(const WorkloadRequest& request) {
  if (!request.answer.empty() || request.expected.empty()) return request.answer;
  const auto expected = ParseExpected(request.expected);
  return expected.ok() ? std::string(AnswerText(*expected)) : std::string();
}

void JudgeWorkload(const Workload& workload, WorkloadSummary& s) {
  const auto can = [&](bool yes, std::string what, std::string why_not) {
    if (yes) {
      s.can_measure.push_back(std::move(what));
    } else {
      s.cannot_measure.push_back(std::move(why_not));
    }
  };
  const bool text = s.with_text > 0;
  can(true, "batching, KV memory and attention: they depend on lengths and arrivals", "");
  const bool hashes =
      std::any_of(workload.requests.begin(), workload.requests.end(),
                  [](const WorkloadRequest& r) { return !r.prefix_blocks.empty(); });
  can(text || hashes,
      fmt::format("prefix reuse: {:.1f} % of the prompt tokens were seen before",
                  100 * s.shared_prefix),
      "prefix reuse: lengths alone do not say which beginnings are shared");
  can(text, "speculation: the texts are there to be continued",
      "speculation: without texts, what the model says is not what it would say to your users");
  can(s.with_passages > 0,
      fmt::format("prompt reduction: {} requests carry passages or name a store", s.with_passages),
      "prompt reduction: no request carries \"documents\" or names a store");
  can(s.with_expected > 0,
      fmt::format("quality: {} requests have expected answers", s.with_expected),
      "quality: no request has an \"expected\" answer");
  can(workload.timed, "queueing at the recorded rate",
      "queueing at the recorded rate: there are no timestamps; give --arrivals and --rate");
  can(s.requests >= 200, "95th percentiles",
      "95th percentiles: those of fewer than 200 requests are not shown");
}

}  // namespace

size_t LookupHits(const std::vector<int32_t>& prompt, const std::vector<int32_t>& answer) {
  std::vector<int32_t> all = prompt;
  all.insert(all.end(), answer.begin(), answer.end());
  std::unordered_map<uint64_t, size_t> next;  // behind the latest place of two tokens
  size_t hits = 0;
  for (size_t i = 2; i < all.size(); ++i) {
    const uint64_t pair = static_cast<uint64_t>(static_cast<uint32_t>(all[i - 2])) << 32 |
                          static_cast<uint32_t>(all[i - 1]);
    const auto found = next.find(pair);
    if (i >= prompt.size() && found != next.end() && all[found->second] == all[i]) ++hits;
    next[pair] = i;
  }
  return hits;
}

WorkloadSummary Summarize(const Workload& workload, const WorkloadTokenizer& tokenizer) {
  WorkloadSummary s;
  s.requests = workload.requests.size();
  SummarizeArrivals(workload, s);
  std::vector<double> input, output, documents;
  std::set<std::string> sessions;
  IdealCache cache;
  int64_t found = 0, tokens = 0;
  size_t hits = 0;
  for (const WorkloadRequest& r : workload.requests) {
    if (r.session.empty()) {
      ++s.sessions;
    } else {
      s.sessions += sessions.insert(r.session).second ? 1 : 0;
    }
    s.with_text += r.has_text() ? 1 : 0;
    s.with_passages += r.has_passages() ? 1 : 0;
    s.with_expected += r.expected.empty() ? 0 : 1;
    s.with_answer += r.answer.empty() ? 0 : 1;
    std::vector<int32_t> prompt;
    if (r.has_text()) prompt = tokenizer.prompt(r);
    const auto length = static_cast<int64_t>(r.has_text() ? static_cast<int64_t>(prompt.size())
                                                          : int64_t{r.input_tokens});
    input.push_back(static_cast<double>(length));
    if (!r.documents.empty()) documents.push_back(static_cast<double>(r.documents.size()));
    tokens += length;
    if (r.has_text()) {
      found += cache.Look(BlocksOf(prompt), kBlockTokens, length);
    } else {
      found += cache.Look({r.prefix_blocks.begin(), r.prefix_blocks.end()}, r.block_tokens, length);
    }
    const std::string answer = AnswerOf(r);
    const std::vector<int32_t> said =
        answer.empty() ? std::vector<int32_t>() : tokenizer.text(answer);
    if (r.output_tokens > 0 || !said.empty()) {
      output.push_back(static_cast<double>(
          r.output_tokens > 0 ? static_cast<size_t>(r.output_tokens) : said.size()));
    }
    if (!said.empty()) hits += LookupHits(prompt, said);
    s.repetition_tokens += said.size();
  }
  s.input = SummaryOfLengths(input);
  s.output = SummaryOfLengths(output);
  s.documents = SummaryOfLengths(documents);
  if (tokens > 0) s.shared_prefix = static_cast<double>(found) / static_cast<double>(tokens);
  if (s.repetition_tokens > 0)
    s.lookup_repetition = static_cast<double>(hits) / static_cast<double>(s.repetition_tokens);
  JudgeWorkload(workload, s);
  return s;
}

}  // namespace millrace
