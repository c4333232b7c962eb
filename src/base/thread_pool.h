// ThreadPool: a persistent team of threads for the phases of a forward pass.
//
// Run(task) runs task(thread) once on every thread of the team, the caller being thread 0, and
// returns when all are done. ParallelFor shares out pieces of work, and waits only for those
// workers that took some: one that sleeps, or has lost its core to another process, holds nothing
// up. Workers spin briefly for the next task, then sleep on a futex, so an idle or oversubscribed
// machine is not burnt. One Run or ParallelFor at a time, from one thread (the engine's). Tasks
// must not throw and must not call back into the pool.
//
// ParallelFor gives each thread a contiguous share of the range, always the same one for the same
// count and grain: a thread that walks through memory is what the processor reads ahead for. A
// thread that is done takes pieces of the others' shares, first of those on its own memory node.
// Memory that is first written in such a loop lies near the threads that read it in the next.
//
// Made from a plan (base/topology.h), workers can be pinned to their cores; the caller never is,
// since threads that it starts would inherit that: the workers leave it a core.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace millrace {

struct ThreadPlan;

class ThreadPool {
 public:
  // threads >= 1; 1 means that everything runs on the caller. Not pinned, one memory node.
  explicit ThreadPool(int threads);
  explicit ThreadPool(const ThreadPlan& plan);
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
    ParallelFor(
        count, grain, [](int) { return 0; },
        [&body](int, int64_t begin, int64_t end) { body(begin, end); });
  }

  // The same, where each thread that takes a piece first calls prepare(thread), once, and gives
  // what came of it to body(prepared, begin, end): work that is cheaper to repeat than to wait for.
  template <class Prepare, class Body>
  void ParallelFor(int64_t count, int64_t grain, Prepare&& prepare, Body&& body) {
    if (count <= 0) return;
    if (threads() == 1 || count <= grain) {
      body(prepare(0), int64_t{0}, count);
      return;
    }
    Divide(count, grain);
    auto task = [&](int thread) {
      Taker taker(*this, thread, grain);
      if (!taker.Next()) return;
      auto&& prepared = prepare(thread);
      do {
        body(prepared, taker.begin, taker.end);
      } while (taker.Next());
    };
    RunErased(Everyone::kNo, Call<decltype(task)>, &task);
  }

 private:
  // What is left of one thread's share of a range.
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  // One thread's way through the shares: its own, then its neighbours'.
  class Taker {
   public:
    Taker(ThreadPool& pool, int thread, int64_t grain)
        : pool_(pool), thread_(thread), grain_(grain) {}
    // Sets begin and end to the next piece; false once all are taken.
    bool Next() {
      for (; visited_ < pool_.threads(); ++visited_) {
        Share& share = pool_.shares_[static_cast<size_t>(pool_.Neighbour(thread_, visited_))];
        begin = share.next.fetch_add(grain_, std::memory_order_relaxed);
        if (begin >= share.end) continue;
        end = std::min(begin + grain_, share.end);
        return true;
      }
      return false;
    }

    int64_t begin = 0, end = 0;

   private:
    ThreadPool& pool_;
    int thread_;
    int64_t grain_;
    int visited_ = 0;  // shares that are known to be empty
  };

  // Divides [0, count) into the threads' shares, whose borders are multiples of `grain`.
  void Divide(int64_t count, int64_t grain);
  // The thread whose share `thread` looks at after `visited` others, its own at 0.
  int Neighbour(int thread, int visited) const;

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

  // The threads of each memory node follow one another: per thread, the first and the one past the
  // last of its node.
  struct Node {
    int first = 0;
    int end = 0;
  };
  std::vector<Node> node_of_;
  std::unique_ptr<Share[]> shares_;  // per thread, of the range that is being worked on
  std::vector<std::thread> workers_;
  Erased function_ = nullptr;  // these two are read by workers that have joined
  void* context_ = nullptr;
  alignas(64) std::atomic<uint32_t> generation_{0};  // raised once per task, and once to stop
  // The task's door: kOpen while workers may join, how many have joined, how many are still inside.
  alignas(64) std::atomic<uint32_t> door_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace millrace
