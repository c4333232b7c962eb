#include "base/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>

#include "base/check.h"
#include "base/topology.h"

namespace millrace {
namespace {

// About 20 us on a 3 GHz core: longer than the gap between two phases, shorter than a wake-up is
// worth.
constexpr int kSpins = 4000;

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// door_: bits 0 to 14 count the workers inside, bit 15 is kOpen, bits 16 to 31 count those that
// have joined.
constexpr uint32_t kInside = 1;
constexpr uint32_t kInsideMask = 0x7fff;
constexpr uint32_t kOpen = 0x8000;
constexpr uint32_t kJoined = 0x10000;

// Where that is refused, the thread runs on where the system puts it.
void Pin(std::thread& thread, int cpu) {
  if (cpu < 0 || cpu >= CPU_SETSIZE) return;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  static_cast<void>(pthread_setaffinity_np(thread.native_handle(), sizeof(one), &one));
}

// Returns once `word` differs from `old`.
void AwaitChange(const std::atomic<uint32_t>& word, uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    if (word.load(std::memory_order_acquire) != old) return;
    Pause();
  }
  word.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads)
    : ThreadPool(
          ThreadPlan{std::vector<Core>(static_cast<size_t>(std::max(threads, 0))), false, {}}) {}

ThreadPool::ThreadPool(const ThreadPlan& plan) {
  CHECK(!plan.threads.empty() && plan.threads.size() <= kInsideMask);
  const int count = static_cast<int>(plan.threads.size());
  for (int first = 0, end = 0; first < count; first = end) {
    const auto node = [&](int t) { return plan.threads[static_cast<size_t>(t)].node; };
    while (end < count && node(end) == node(first)) ++end;
    node_of_.insert(node_of_.end(), static_cast<size_t>(end - first), Node{first, end});
  }
  shares_ = std::make_unique<Share[]>(plan.threads.size());
  for (int t = 1; t < count; ++t) {
    workers_.emplace_back([this, t] { WorkerLoop(t); });
    if (plan.pinned) Pin(workers_.back(), plan.threads[static_cast<size_t>(t)].cpu);
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& w : workers_) w.join();
}

void ThreadPool::Divide(int64_t count, int64_t grain) {
  const int64_t pieces = (count + grain - 1) / grain;
  const int64_t all = threads();
  for (int64_t t = 0; t < all; ++t) {
    Share& share = shares_[static_cast<size_t>(t)];
    share.next.store(pieces * t / all * grain, std::memory_order_relaxed);
    share.end = std::min(pieces * (t + 1) / all * grain, count);
  }
}

int ThreadPool::Neighbour(int thread, int visited) const {
  const Node node = node_of_[static_cast<size_t>(thread)];
  const int near = node.end - node.first;
  if (visited < near) return node.first + (thread - node.first + visited) % near;
  return (node.end + visited - near) % threads();
}

void ThreadPool::RunErased(Everyone everyone, Erased function, void* context) {
  if (workers_.empty()) {
    function(context, 0);
    return;
  }
  function_ = function;
  context_ = context;
  door_.store(kOpen, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  function(context, 0);
  const auto all = static_cast<uint32_t>(workers_.size()) * kJoined;
  if (everyone == Everyone::kYes) {
    for (uint32_t d; (d = door_.load(std::memory_order_acquire)) < all;) AwaitChange(door_, d);
  }
  uint32_t door = door_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
  while ((door & kInsideMask) != 0) {
    AwaitChange(door_, door);
    door = door_.load(std::memory_order_acquire);
  }
}

bool ThreadPool::Join() {
  uint32_t door = door_.load(std::memory_order_acquire);
  while ((door & kOpen) != 0) {
    if (door_.compare_exchange_weak(door, door + kJoined + kInside, std::memory_order_acq_rel,
                                    std::memory_order_acquire)) {
      // The caller may wait for everyone to have joined.
      door_.notify_one();
      return true;
    }
  }
  return false;
}

void ThreadPool::Leave() {
  door_.fetch_sub(kInside, std::memory_order_acq_rel);
  door_.notify_one();
}

void ThreadPool::WorkerLoop(int thread) {
  uint32_t seen = 0;
  while (true) {
    AwaitChange(generation_, seen);
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_relaxed)) return;
    if (!Join()) continue;  // everything was done before this worker woke up
    // Between joining and leaving the generation stands still: this is the task that was joined,
    // even if it is a later one than the one that woke this worker.
    seen = generation_.load(std::memory_order_acquire);
    function_(context_, thread);
    Leave();
  }
}

}  // namespace millrace
