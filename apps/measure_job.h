// MeasureJob: `millrace measure --quick` as a process beside a server, for its dashboard.
//
// Invariants: one at a time; the process does not outlive this object, nor this process; its folder
// is removed with it. From any thread.
#pragma once

#include <sys/types.h>

#include <mutex>
#include <string>
#include <vector>

#include "server/server.h"

namespace millrace {

class MeasureJob {
 public:
  // The model and the draft are those of the server; empty: the embedded ones.
  MeasureJob(std::string model, std::string draft);
  ~MeasureJob();
  MeasureJob(const MeasureJob&) = delete;
  MeasureJob& operator=(const MeasureJob&) = delete;

  // Refuses a second one, switches that `measure` does not know, and a time out of bounds.
  Status Start(const std::vector<std::string>& switches, double minutes);
  MeasureState state();
  void Cancel();
  // Of the last one that is done: report.json; else empty.
  std::string report();

 private:
  void Look();  // with the mutex held: whether it has ended, and how
  void Kill();
  void RemoveFolder();
  std::string Log() const;

  const std::string model_, draft_;
  std::mutex mutex_;
  pid_t process_ = -1;  // while it runs
  std::string folder_;
  std::string report_;
  MeasureState state_;
};

// The hooks of a DashboardConfig.
MeasureHooks HooksOf(std::shared_ptr<MeasureJob> job);

}  // namespace millrace
