// Which switches a measurement turns.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "lab/lab_switch.h"
#include "lab/workload.h"

namespace millrace {

// The switches that were asked for, "FLAG", "FLAG=ON" or "FLAG=ON:OFF" for other values; owns the
// latter.
class ChosenSwitches {
 public:
  // Nothing asked: all that the workload can show; without passages, nothing can be reduced. Errors
  // name what there is.
  Result<SwitchList> Choose(const std::vector<std::string>& asked, const Workload& workload);

  static const LabSwitch* Find(std::string_view flag);  // null: there is none

 private:
  std::deque<std::string> values_;
  std::deque<LabSwitch> own_;
};

}  // namespace millrace
