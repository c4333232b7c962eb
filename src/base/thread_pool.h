// ThreadPool: a persistent team of threads for the phases of a forward pass.
//
// Run(task) runs task(thread) once on every thread of the team, the caller being thread 0, and
// returns when all are done. ParallelFor shares out pieces of work, and waits only for those
// workers that took some: one that sleeps, or has lost its core to another process, holds nothing
// up. Workers spin briefly for the next task, then sleep on a futex, so an idle or oversubscribed
// machine is not burnt. One Run or ParallelFor at a time, from one thread (the engine's). Tasks
// must not throw and must not call back into the pool.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace millrace {

class ThreadPool {
 public:
  // threads >= 1; 1 means that everything runs on the caller.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  template <class Task>
  void Run(Task&& task) {
    RunErased(Everyone::kYes, Call<std::remove_reference_t<Task>>,
              const_cast<void*>(static_cast<const void*>(&task)));
  }

  // body(begin, end) over [0, count) in contiguous pieces whose borders are multiples of `grain`
  // (except the last); pieces are handed out dynamically. A count of at most one grain runs on the
  // caller.
  template <class Body>
  void ParallelFor(int64_t count, int64_t grain, Body&& body) {
    if (count <= 0) return;
    if (threads() == 1 || count <= grain) {
      body(int64_t{0}, count);
      return;
    }
    std::atomic<int64_t> next{0};
    auto task = [&](int) {
      for (int64_t begin; (begin = next.fetch_add(grain, std::memory_order_relaxed)) < count;) {
        body(begin, begin + grain < count ? begin + grain : count);
      }
    };
    RunErased(Everyone::kNo, Call<decltype(task)>, &task);
  }

 private:
  using Erased = void (*)(void*, int);
  enum class Everyone { kNo, kYes };

  template <class Task>
  static void Call(void* context, int thread) {
    (*static_cast<Task*>(context))(thread);
  }
  void RunErased(Everyone everyone, Erased function, void* context);
  void WorkerLoop(int thread);
  // Whether the task that is open now, if one is, was joined.
  bool Join();
  void Leave();

  std::vector<std::thread> workers_;
  Erased function_ = nullptr;  // these two are read by workers that have joined
  void* context_ = nullptr;
  alignas(64) std::atomic<uint32_t> generation_{0};  // raised once per task, and once to stop
  // The task's door: kOpen while workers may join, how many have joined, how many are still inside.
  alignas(64) std::atomic<uint32_t> door_{0};
  std::atomic<bool> stop_{false};
};

// The number of physical cores this process may run on (at least 1): hyperthread siblings count
// once.
int PhysicalCores();

}  // namespace millrace
