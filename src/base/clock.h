// Clock: monotonic time, passed in so that tests can move it by hand.
#pragma once

#include <chrono>
#include <functional>
#include <utility>

namespace millrace {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

class Clock {
 public:
  Clock()
      : now_([] {
          return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now());
        }) {}
  explicit Clock(std::function<TimePoint()> now) : now_(std::move(now)) {}
  TimePoint Now() const { return now_(); }

 private:
  std::function<TimePoint()> now_;
};

inline double Seconds(Duration d) { return std::chrono::duration<double>(d).count(); }
inline double Milliseconds(Duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

}  // namespace millrace
