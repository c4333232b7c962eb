// ThreadPool: a persistent team of threads for the phases of a forward pass.
//
// Run(task) runs task(thread) once on every thread of the team, the caller being thread 0, and
// returns when all are done. ParallelFor shares out pieces of work, and waits only for those
// workers that took some: one that sleeps, or has lost its core to another process, holds nothing
// up. Workers spin briefly for the next task, then sleep on a futex, so an idle or oversubscribed
// machine is not burnt. One Run or ParallelFor at a time, from one thread (the engine's). Tasks
// must not throw and must not call back into the pool.
//
// Made from a plan (base/topology.h), workers can be pinned to their cores; the caller never is,
// since threads that it starts would inherit that: the workers leave it a core. With several memory
// nodes ParallelFor gives each node's threads a contiguous share of the range, always the same one
// for the same count and grain, and then what is left of the others'. Memory that is first written
// in such a loop therefore lies near the threads that read it in the next.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace millrace {

struct ThreadPlan;

class ThreadPool {
 public:
  static constexpr size_t kMostNodes = 8;  // threads of more memory nodes count as of the eighth

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
    Shares shares(count, grain, first_of_node_);
    auto task = [&](int thread) {
      const size_t node = node_of_[static_cast<size_t>(thread)];
      int64_t begin = 0, end = 0;
      if (!shares.Take(node, begin, end)) return;
      auto&& prepared = prepare(thread);
      do {
        body(prepared, begin, end);
      } while (shares.Take(node, begin, end));
    };
    RunErased(Everyone::kNo, Call<decltype(task)>, &task);
  }

 private:
  // [0, count) in pieces of `grain`, a contiguous share for each node's threads.
  class Shares {
   public:
    Shares(int64_t count, int64_t grain, const std::vector<int>& first_of_node)
        : grain_(grain), nodes_(first_of_node.size() - 1) {
      const int64_t pieces = (count + grain - 1) / grain;
      for (size_t n = 0; n < nodes_; ++n) {
        shares_[n].next.store(pieces * first_of_node[n] / first_of_node.back() * grain,
                              std::memory_order_relaxed);
        const int64_t end = pieces * first_of_node[n + 1] / first_of_node.back() * grain;
        shares_[n].end = end < count ? end : count;
      }
    }
    // The next piece of that node's share, or of another's; false once all are taken.
    bool Take(size_t node, int64_t& begin, int64_t& end) {
      for (size_t i = 0; i < nodes_; ++i) {
        Share& share = shares_[(node + i) % nodes_];
        begin = share.next.fetch_add(grain_, std::memory_order_relaxed);
        if (begin >= share.end) continue;
        end = begin + grain_ < share.end ? begin + grain_ : share.end;
        return true;
      }
      return false;
    }

   private:
    struct alignas(64) Share {
      std::atomic<int64_t> next{0};
      int64_t end = 0;
    };
    int64_t grain_;
    size_t nodes_;
    std::array<Share, kMostNodes> shares_;
  };

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

  std::vector<size_t> node_of_;     // per thread, among the nodes that have threads
  std::vector<int> first_of_node_;  // the first thread of each node, and the number of threads
  std::vector<std::thread> workers_;
  Erased function_ = nullptr;  // these two are read by workers that have joined
  void* context_ = nullptr;
  alignas(64) std::atomic<uint32_t> generation_{0};  // raised once per task, and once to stop
  // The task's door: kOpen while workers may join, how many have joined, how many are still inside.
  alignas(64) std::atomic<uint32_t> door_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace millrace
