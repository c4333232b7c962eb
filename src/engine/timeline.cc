#include "engine/timeline.h"

#include <algorithm>

namespace millrace {

void Timeline::Add(const TimelineStep& step) {
  if (!enabled()) return;
  const std::lock_guard lock(mutex_);
  steps_[next_] = step;
  next_ = (next_ + 1) % steps_.size();
  count_ = std::min(count_ + 1, steps_.size());
}

std::vector<TimelineStep> Timeline::Last(size_t most) const {
  const std::lock_guard lock(mutex_);
  const size_t count = std::min(most, count_);
  std::vector<TimelineStep> last;
  last.reserve(count);
  for (size_t i = count; i > 0; --i) {
    last.push_back(steps_[(next_ + steps_.size() - i) % steps_.size()]);
  }
  return last;
}

}  // namespace millrace
