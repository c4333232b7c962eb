#include "lab/answer_comparison.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace millrace {
namespace {

std::string Shortened(const std::string& text) {
  constexpr size_t kMost = 120;
  if (text.size() <= kMost) return text;
  size_t end = kMost;  // not within a character
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0u) == 0x80u) --end;
  return text.substr(0, end) + "...";
}

}  // namespace

void AnswerComparer::Add(const RunRecord& first, const RunRecord& second) {
  CHECK(first.items == second.items);
  for (size_t i = 0; i < first.items.size(); ++i) {
    const std::string &before = first.texts[i], &after = second.texts[i];
    if (before.empty() || after.empty()) continue;
    ++counts_.answers;
    const size_t item = first.items[i];
    if (before != after && counts_.differing++ == 0) {
      counts_.first_difference = fmt::format("request {}: \"{}\" became \"{}\"", item + 1,
                                             Shortened(before), Shortened(after));
    }
    const WorkloadRequest& request = workload_.requests[item];
    if (request.expected.empty() || std::exchange(judged_[item], true)) continue;
    const auto expected = ParseExpected(request.expected);
    if (!expected.ok()) continue;
    before_.push_back(Judge(*expected, before));
    after_.push_back(Judge(*expected, after));
    const std::string& group = request.group.empty() ? request.session : request.group;
    const std::string name = group.empty() ? fmt::format("\n{}", item) : group;
    cluster_.push_back(
        clusters_.try_emplace(name, static_cast<int32_t>(clusters_.size())).first->second);
  }
}

AnswerComparison AnswerComparer::Result() const {
  AnswerComparison result = counts_;
  result.judged = static_cast<int64_t>(before_.size());
  if (before_.empty()) return result;
  result.quality = CompareTasks(before_, after_, cluster_);
  for (size_t i = 0; i < before_.size(); ++i) {
    result.exact_before += before_[i].right ? 1 : 0;
    result.exact_after += after_[i].right ? 1 : 0;
    result.f1_before += before_[i].f1;
    result.f1_after += after_[i].f1;
  }
  for (double* sum :
       {&result.exact_before, &result.exact_after, &result.f1_before, &result.f1_after}) {
    *sum /= static_cast<double>(result.judged);
  }
  return result;
}

}  // namespace millrace
