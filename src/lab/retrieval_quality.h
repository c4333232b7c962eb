// What prompt reduction keeps of what an answer needs: of the requests that carry passages and say
// what is expected.
//
// A passage holds the answer where one of the expected texts stands in it, letter for letter. Of
// the requests of which some passage does: answer coverage is the share of which a kept passage
// does; recall is the mean share kept of a request's passages that do (recall@k of Manning,
// Raghavan and Schuetze 2008, section 8.4, with k what was kept). Every passage counts as kept
// where the server did not reduce. Passages that the server cuts into pieces count whole.
#pragma once

#include <cstdint>
#include <span>

#include "lab/replay.h"
#include "lab/workload.h"

namespace millrace {

struct RetrievalQuality {
  int64_t requests = 0;  // whole answers whose passages hold what is expected; of these:
  double coverage = 0;
  double recall = 0;
  double kept = 0;  // passages, mean
};
// items[i] is the workload's request that answers[i] answers.
RetrievalQuality MeasureRetrieval(const Workload& workload, std::span<const size_t> items,
                                  std::span<const ReplayAnswer> answers);

}  // namespace millrace
