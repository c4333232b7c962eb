// Two configurations' answers to the same requests. Internal to lab/.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lab/analysis.h"

namespace millrace {

class AnswerComparer {
 public:
  explicit AnswerComparer(const Workload& workload) : workload_(workload) {}
  // Two runs on the same requests. Answers that failed in either are left out. A request that comes
  // again in a later round is judged once, but compared each time.
  void Add(const RunRecord& first, const RunRecord& second);
  AnswerComparison Result() const;

 private:
  const Workload& workload_;
  AnswerComparison counts_;
  std::map<size_t, bool> judged_;
  std::map<std::string, int32_t> clusters_;
  std::vector<Judgement> before_, after_;
  std::vector<int32_t> cluster_;
};

}  // namespace millrace
