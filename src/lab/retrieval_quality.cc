#include "lab/retrieval_quality.h"

#include <algorithm>
#include <set>
#include <vector>

#include "base/check.h"
#include "lab/task.h"

namespace millrace {
namespace {

// The places of the passages that hold one of the expected texts.
std::set<size_t> Holders(const WorkloadRequest& request) {
  std::set<size_t> holders;
  if (request.expected.empty() || request.documents.empty()) return holders;
  const auto expected = ParseExpected(request.expected);
  if (!expected.ok() ||
      (expected->kind != ExpectationKind::kExact && expected->kind != ExpectationKind::kContains)) {
    return holders;
  }
  for (size_t i = 0; i < request.documents.size(); ++i) {
    for (const std::string& text : expected->texts) {
      if (!text.empty() && request.documents[i].find(text) != std::string::npos) holders.insert(i);
    }
  }
  return holders;
}

}  // namespace

RetrievalQuality MeasureRetrieval(const Workload& workload, std::span<const size_t> items,
                                  std::span<const ReplayAnswer> answers) {
  CHECK(items.size() == answers.size());
  RetrievalQuality q;
  for (size_t i = 0; i < items.size(); ++i) {
    const WorkloadRequest& request = workload.requests[items[i]];
    if (!answers[i].ok()) continue;
    const std::set<size_t> holders = Holders(request);
    if (holders.empty()) continue;
    ++q.requests;
    if (!answers[i].kept_passages) {
      q.coverage += 1;
      q.recall += 1;
      q.kept += static_cast<double>(request.documents.size());
      continue;
    }
    const std::set<size_t> kept(answers[i].kept_passages->begin(), answers[i].kept_passages->end());
    const auto found = std::count_if(holders.begin(), holders.end(),
                                     [&](size_t place) { return kept.contains(place); });
    q.coverage += found > 0 ? 1 : 0;
    q.recall += static_cast<double>(found) / static_cast<double>(holders.size());
    q.kept += static_cast<double>(kept.size());
  }
  if (q.requests == 0) return q;
  for (double* sum : {&q.coverage, &q.recall, &q.kept}) *sum /= static_cast<double>(q.requests);
  return q;
}

}  // namespace millrace
