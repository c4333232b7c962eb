// Scheduler: which tokens of which sequences the next step computes. The batch is re-formed at
// every step.
//
// Progress of a sequence is two integers: `length` (tokens known: prompt and output) and `computed`
// (tokens whose keys and values are in its blocks). length - computed == 1 is decoding, more is
// prefill; chunked prefill, prefix hits and preemption (computed = 0, blocks given back, length
// kept) are arithmetic on them, not states. Source: Orca (Yu et al., OSDI 2022), section 3.2;
// chunked prefill: Sarathi-Serve (Agrawal et al., OSDI 2024), 4.1.
//
// Invariants: PlanStep reads no clock, model or thread. Blocks for every planned token are reserved
// before the plan is returned; a plan never needs more than the pool has. The oldest sequence
// always makes progress, so every sequence that fits the pool alone finishes. free + held ==
// capacity at all times.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "paged_kv/block_pool.h"

namespace millrace {

struct SchedulerConfig {
  int32_t max_running = 64;       // sequences in a batch
  int32_t max_step_tokens = 512;  // rows of a step: decode rows first, then prefill chunks
  int32_t max_chunk = 512;        // prefill tokens of one sequence in one step
};

// Tokens [first, first + count) of a sequence are computed in this step.
struct Slice {
  RequestId request;
  int32_t first = 0;
  int32_t count = 0;
  // The slice reaches the sequence's last known token: its last row's logits give the next.
  bool samples = false;

  friend bool operator==(const Slice&, const Slice&) = default;
};

// Whether all values are at least 1; the message names the field.
Status Validate(const SchedulerConfig& config);

struct StepPlan {
  std::vector<Slice> slices;
  std::vector<RequestId> preempted;  // lost their blocks in this step; they are waiting again
};

class Scheduler {
 public:
  // `config` must have passed Validate; `pool` must outlive the scheduler.
  Scheduler(const SchedulerConfig& config, BlockPool& pool);

  // A new sequence of `prompt_tokens` that will hold at most `max_length` tokens. Needs
  // 1 <= prompt_tokens < max_length and BlocksFor(max_length) <= the pool's capacity (the engine
  // checks both on submission).
  void Add(RequestId request, int32_t prompt_tokens, int32_t max_length);
  // Removes a sequence, waiting or running; its blocks are free at once. False when unknown.
  bool Remove(RequestId request);

  // The next step:
  // - Every running sequence, oldest first, is secured a block for its next token. Where there is
  //   none, the latest running sequence is preempted: its blocks are given back and it waits, to be
  //   recomputed. The latest is not preempted for its own sake: it sits out the step.
  // - Decoding sequences get their row; then those in prefill get chunks, oldest first, as rows and
  //   free blocks allow.
  // - Waiting sequences are admitted in order while rows, places and blocks allow, unless this step
  //   preempted. Admission looks ahead: there must be blocks for all known tokens of every running
  //   sequence and of the new one, and for kBlockTokens more each, so that the newcomer does not
  //   soon preempt others or fall itself.
  // Running sequences are always older than waiting ones, and both are in order of arrival. The
  // plan is empty only when the scheduler is. Every plan must be given to Commit.
  StepPlan PlanStep();
  // What the step did: every slice of `plan` was computed. `appended[i]` tokens were added to the
  // sequence of slice i (0 where it did not sample, at least 1 where it did); call Remove for
  // sequences that ended, before or after. Slices of removed sequences are ignored.
  void Commit(const StepPlan& plan, std::span<const int32_t> appended);

  // The blocks of a running sequence, in order. Valid until the next call that changes the
  // scheduler.
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
    std::vector<BlockId> block_table;  // the ids of `blocks`

    int32_t pending() const { return length - computed; }
    int32_t covered() const { return static_cast<int32_t>(blocks.size()) * kBlockTokens; }
  };

  void SecureNextTokens(StepPlan& plan);
  void Preempt(StepPlan& plan);
  void PlanRunning(StepPlan& plan, int32_t& room);
  void Admit(StepPlan& plan, int32_t& room);
  void PlanSlice(Sequence& sequence, int32_t count, StepPlan& plan, int32_t& room);
  int32_t ChunkOf(const Sequence& sequence, int32_t room) const;
  bool Cover(Sequence& sequence, int32_t tokens);
  static int32_t BlocksAhead(const Sequence& sequence);

  SchedulerConfig config_;
  BlockPool* pool_;
  std::unordered_map<RequestId, Sequence> sequences_;  // nodes stay where they are
  std::deque<Sequence*>
      waiting_;  // front: next to be admitted; a preempted one returns to the front
  std::vector<Sequence*> running_;  // oldest first
};

}  // namespace millrace
