#include "measure_switches.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace {
namespace {

std::string KnownSwitches() {
  std::string known;
  for (const LabSwitch& s : LabSwitches())
    known += (known.empty() ? "" : ", ") + std::string(s.flag);
  return known;
}

SwitchList ShownBy(const Workload& workload) {
  const bool passages = std::any_of(workload.requests.begin(), workload.requests.end(),
                                    [](const WorkloadRequest& r) { return r.has_passages(); });
  SwitchList list;
  for (const LabSwitch& s : LabSwitches()) {
    if (passages || s.answers != AnswerEffect::kPrompt) list.push_back(&s);
  }
  return list;
}

}  // namespace

Result<SwitchList> ChosenSwitches::Choose(const std::vector<std::string>& asked,
                                          const Workload& workload) {
  if (asked.empty()) return ShownBy(workload);
  SwitchList list;
  for (const std::string& word : asked) {
    const size_t equals = std::min(word.find('='), word.size());
    const LabSwitch* known = Find(word.substr(0, equals));
    const auto same = [&](const LabSwitch* s) {
      return std::string_view(s->flag) == word.substr(0, equals);
    };
    if (known == nullptr || std::any_of(list.begin(), list.end(), same))
      return Error{"--switches must name some of " + KnownSwitches() + ", each once"};
    if (equals < word.size()) {
      LabSwitch& own = own_.emplace_back(*known);
      const size_t colon = std::min(word.find(':', equals), word.size());
      own.on = values_.emplace_back(word.substr(equals + 1, colon - equals - 1)).c_str();
      if (colon < word.size()) own.off = values_.emplace_back(word.substr(colon + 1)).c_str();
      own.name = values_.emplace_back(fmt::format("{} ({})", known->name, own.on)).c_str();
      known = &own;
    }
    list.push_back(known);
  }
  return list;
}

const LabSwitch* ChosenSwitches::Find(std::string_view flag) {
  for (const LabSwitch& s : LabSwitches()) {
    if (flag == s.flag) return &s;
  }
  return nullptr;
}

}  // namespace millrace
