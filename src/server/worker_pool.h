// WorkerPool: a few threads for what would hold up the I/O threads: parsing, templates, tokenising.
//
// Invariant: tasks start in the order they came; the destructor runs what is queued and joins. The
// queue is bounded: a full one refuses, so that a flood of requests cannot grow memory.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace millrace {

class WorkerPool {
 public:
  WorkerPool(int threads, size_t max_queued);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // False when the queue is full; `task` is then dropped. Tasks must not throw.
  bool Post(std::function<void()> task);

 private:
  void Loop();

  const size_t max_queued_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace millrace
