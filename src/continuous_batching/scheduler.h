// Scheduler: which tokens of which sequences the next step computes. The batch is re-formed at every step.
//
// Progress of a sequence is two integers: `length` (tokens known: prompt and output) and `computed` (tokens whose keys
// and values are in its blocks). length - computed == 1 is decoding, more is prefill; chunked prefill, prefix hits and
// preemption (computed = 0, blocks given back, length kept) are arithmetic on them, not states.
// Source: Orca (Yu et al., OSDI 2022), section 3.2; chunked prefill: Sarathi-Serve (Agrawal et al., OSDI 2024), 4.1.
//
// Invariants: PlanStep reads no clock, model or thread. Blocks for every planned token are reserved before the plan is
// returned; a plan never needs more than the pool has. The oldest sequence always makes progress, so every sequence
// that fits the pool alone finishes. free + held == capacity at all times.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/id.h"
#include "paged_kv/block_pool.h"

namespace millrace {

struct SchedulerConfig {
  int32_t max_running = 64;        // sequences in a batch
  int32_t max_step_tokens = 512;   // rows of a step: decode rows first, then prefill chunks
  int32_t max_chunk = 512;         // prefill tokens of one sequence in one step
};

// Tokens [first, first + count) of a sequence are computed in this step.
struct Slice {
  RequestId request;
  int32_t first = 0;
  int32_t count = 0;
  bool samples = false;  // the slice reaches the sequence's last known token: its last row's logits give the next
};

struct StepPlan {
  std::vector<Slice> slices;
  std::vector<RequestId> preempted;  // lost their blocks in this step; they are waiting again
};

class Scheduler {
 public:
  Scheduler(const SchedulerConfig& config, BlockPool& pool);

  // A new sequence of `prompt_tokens` that will hold at most `max_length` tokens. Needs
  // BlocksFor(max_length) <= pool capacity (the engine checks it on submission).
  void Add(RequestId request, int32_t prompt_tokens, int32_t max_length);
  // Removes a sequence, waiting or running; its blocks are free at once. False when unknown.
  bool Remove(RequestId request);

  StepPlan PlanStep();
  // What the step did: every slice of `plan` was computed. `appended[i]` tokens were added to the sequence of slice i
  // (0 where it did not sample); call Remove for sequences that ended. Slices of removed sequences are ignored.
  void Commit(const StepPlan& plan, std::span<const int32_t> appended);

  // The blocks of a running sequence, in order. Valid until the next call that changes the scheduler.
  std::span<const BlockId> BlockTable(RequestId request) const;
  int32_t running() const;
  int32_t waiting() const;

 private:
  struct Sequence {
    RequestId request;
    int32_t length = 0;
    int32_t computed = 0;
    int32_t max_length = 0;
    std::vector<BlockRef> blocks;
    std::vector<BlockId> block_table;
  };
  SchedulerConfig config_;
  BlockPool* pool_;
  std::deque<Sequence> waiting_;   // front: next to be admitted; a preempted sequence returns to the front
  std::vector<Sequence> running_;  // oldest first
};

}  // namespace millrace
