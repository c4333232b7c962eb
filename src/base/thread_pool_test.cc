#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <vector>

#include "base/topology.h"

namespace millrace {
namespace {

TEST(ThreadPool, EveryThreadRunsEachTaskOnce) {
  for (int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 200; ++round) {
      std::vector<int> ran(static_cast<size_t>(threads));
      pool.Run([&](int t) { ++ran[static_cast<size_t>(t)]; });
      for (int r : ran) EXPECT_EQ(r, 1);
    }
  }
}

TEST(ThreadPool, ParallelForCoversTheRangeOnce) {
  ThreadPool pool(3);
  for (int64_t count : {0, 1, 15, 16, 17, 1000}) {
    std::vector<std::atomic<int>> hits(static_cast<size_t>(count));
    pool.ParallelFor(count, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
    });
    for (auto& h : hits) EXPECT_EQ(h.load(), 1);
  }
}

// Workers that come late to one task must neither miss nor repeat a later one, whose place in
// memory is the same.
TEST(ThreadPool, RunAndParallelForInTurn) {
  ThreadPool pool(4);
  for (int round = 0; round < 3000; ++round) {
    const int64_t count = round % 7;
    std::vector<std::atomic<int>> hits(static_cast<size_t>(count));
    pool.ParallelFor(count, 1, [&](int64_t begin, int64_t) { ++hits[static_cast<size_t>(begin)]; });
    for (auto& h : hits) ASSERT_EQ(h.load(), 1);
    if (round % 5 != 0) continue;
    std::vector<int> ran(4);
    pool.Run([&](int t) { ++ran[static_cast<size_t>(t)]; });
    for (const int r : ran) ASSERT_EQ(r, 1);
  }
}

// Each thread that takes pieces prepares once, before its first; one that takes none does not.
TEST(ThreadPool, PreparesOncePerThreadThatTakesPart) {
  ThreadPool pool(3);
  for (int round = 0; round < 500; ++round) {
    std::vector<std::atomic<int>> prepared(3), used(3), hits(20);
    pool.ParallelFor(
        20, 1,
        [&](int thread) {
          ++prepared[static_cast<size_t>(thread)];
          return thread;
        },
        [&](int thread, int64_t begin, int64_t end) {
          EXPECT_EQ(prepared[static_cast<size_t>(thread)], 1);
          ++used[static_cast<size_t>(thread)];
          for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
        });
    for (const auto& h : hits) ASSERT_EQ(h.load(), 1);
    for (size_t t = 0; t < 3; ++t) ASSERT_EQ(prepared[t].load(), used[t].load() > 0 ? 1 : 0);
  }
}

// Threads of several memory nodes: every piece is done once, whoever does it.
TEST(ThreadPool, PiecesOfSeveralNodes) {
  const auto machine = SyntheticTopology("numa:3 core:2 pu:1");
  ASSERT_TRUE(machine.ok());
  for (const int threads : {1, 2, 4, 6}) {
    ThreadPool pool(PlanThreads(*machine, threads, Pinning::kOff, 0));
    EXPECT_EQ(pool.threads(), threads);
    for (const int64_t count : {0, 1, 2, 15, 64, 1000}) {
      for (const int64_t grain : {1, 7}) {
        std::vector<std::atomic<int>> hits(static_cast<size_t>(count));
        pool.ParallelFor(count, grain, [&](int64_t begin, int64_t end) {
          EXPECT_EQ(begin % grain, 0);
          for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
        });
        for (const auto& h : hits) ASSERT_EQ(h.load(), 1);
      }
    }
  }
}

TEST(ThreadPool, PinnedWorkersStayOnTheirCores) {
  const Topology here = ReadTopology();
  const ThreadPlan plan = PlanThreads(here, 0, Pinning::kOn, 0);
  ThreadPool pool(plan);
  std::vector<int> cpus(plan.threads.size());
  for (int round = 0; round < 50; ++round) {
    pool.Run([&](int thread) { cpus[static_cast<size_t>(thread)] = sched_getcpu(); });
    for (size_t t = 1; t < cpus.size(); ++t) ASSERT_EQ(cpus[t], plan.threads[t].cpu);
  }
}

}  // namespace
}  // namespace millrace
