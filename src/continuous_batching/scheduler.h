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
// before the plan is returned; a plan never needs more than the pool has. The sequence that was
// admitted first always makes progress, and a waiting one is overtaken within the bounds of
// waiting_queue.h, so every sequence that fits the pool alone finishes. free + held == capacity at
// all times, in the pool and in the swap space.
//
// With a PrefixTree, a sequence begins with the blocks that already hold its beginning, all but its
// last token; what it computes becomes known block by block; what it leaves stays until the memory
// is needed, and goes before anybody is preempted. With a swap space, who is preempted keeps a copy
// of its blocks there, as far as that is quicker than computing them again.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/id.h"
#include "base/result.h"
#include "continuous_batching/step_cost.h"
#include "continuous_batching/waiting_queue.h"
#include "paged_kv/block_pool.h"
#include "paged_kv/kv_map.h"
#include "prefix_cache/prefix_tree.h"

namespace millrace {

// kStatic is the textbook baseline: a batch is formed, runs until its last member ends, and only
// then the next one starts.
enum class Batching { kContinuous, kStatic };

struct SchedulerConfig {
  int32_t max_running = 64;       // sequences in a batch
  int32_t max_step_tokens = 512;  // rows of a step: decode rows first, then prefill chunks
  int32_t max_chunk = 512;        // prefill tokens of one sequence in one step
  // Drafted tokens of one decoding sequence in one step. They get the rows that decode and prefill
  // leave, each sequence the same number at most.
  int32_t max_draft = 0;
  // With a prefix tree, of the first `reorder_window` waiting sequences the one with the longest
  // cached prefix is admitted first, but nobody is overtaken more than `max_overtakes` times.
  int32_t reorder_window = 8;
  int32_t max_overtakes = 8;
  // Of one client's sequences, higher priorities begin first, but after so many that passed by the
  // client's oldest, that one is next.
  int32_t max_passes = 8;
  Batching batching = Batching::kContinuous;
  // How long a step with decode rows may take: its prefill rows are as many as keep to that, by the
  // speed that Observe measured, but StepCost::kLeastPrefill at least. None: only the bounds above.
  std::optional<Duration> target_interval = std::nullopt;
  // kContiguous: a sequence begins with one run of blocks for its max_length, or waits; sequences
  // that run are moved together where that makes room. Nobody is preempted and nothing is shared:
  // without a prefix tree only.
  KvLayout layout = KvLayout::kPaged;
  // With a swap space, whether preempted sequences keep their blocks there. kMeasured: where
  // copying them is quicker than computing them again.
  enum class SwapUse { kMeasured, kAlways };
  SwapUse swap_use = SwapUse::kMeasured;
};

// How a sequence takes part in prefix reuse.
struct PrefixUse {
  std::string space;  // namespace: sequences of different ones share nothing
  // The sequence's tokens, kept by the caller until Remove: all known ones whenever PlanStep,
  // Commit or Remove is called.
  const std::vector<TokenId>* tokens = nullptr;
};

// When a sequence's turn is. Priorities order the sequences of one client; between clients the
// tokens decide that each was served (waiting_queue.h), so that nobody gains by high priorities.
struct Terms {
  std::string client = {};
  int32_t priority = 0;                              // higher ones begin first
  std::optional<TimePoint> deadline = std::nullopt;  // see Overdue
  int32_t max_chunk = 0;  // prefill tokens in one step, if fewer than the configuration's; 0: those
};

// Tokens [first, first + count) of a sequence are computed in this step.
struct Slice {
  RequestId request;
  int32_t first = 0;
  int32_t count = 0;
  // The slice reaches the sequence's last known token: its last row's logits give the next.
  bool samples = false;
  // Rows of drafted tokens that may follow it (ReserveDraft), and those that do.
  int32_t draft_room = 0;
  int32_t drafted = 0;

  friend bool operator==(const Slice&, const Slice&) = default;
};

// A sequence that begins or begins again: its first `cached` tokens are in its blocks already.
struct Admission {
  RequestId request;
  int32_t cached = 0;

  friend bool operator==(const Admission&, const Admission&) = default;
};

// The whole block is copied.
struct BlockCopy {
  BlockId from, to;

  friend bool operator==(const BlockCopy&, const BlockCopy&) = default;
};

// Whether all values are at least 1 (max_overtakes, max_passes: 0), target_interval more than
// nothing; the message names the field.
Status Validate(const SchedulerConfig& config);

struct StepPlan {
  std::vector<Slice> slices;
  std::vector<RequestId> preempted;  // lost their blocks in this step; they are waiting again
  std::vector<Admission> admitted;
  // To be done before the step's Forward, in this order.
  std::vector<BlockCopy> swapped_out;  // from the pool's blocks to the swap space's
  std::vector<BlockCopy> swapped_in;   // from the swap space's blocks to the pool's
  std::vector<BlockCopy> copies;
};

class Scheduler {
 public:
  // `config` must have passed Validate; `pool` must outlive the scheduler, and so must `tree`,
  // which is of the same pool; without one, nothing is shared. `swap`: blocks that preempted
  // sequences may keep; must outlive the scheduler too; without one, they compute everything again.
  Scheduler(const SchedulerConfig& config, BlockPool& pool, PrefixTree* tree = nullptr,
            BlockPool* swap = nullptr);

  // A new sequence of `prompt_tokens` that will hold at most `max_length` tokens. Needs
  // 1 <= prompt_tokens < max_length and BlocksFor(max_length) <= the pool's capacity (the engine
  // checks both on submission). Without `prefix`, it neither takes from the tree nor gives.
  void Add(RequestId request, int32_t prompt_tokens, int32_t max_length,
           std::optional<PrefixUse> prefix = std::nullopt, const Terms& terms = {});
  // Between two steps: `child` goes on from `parent`, which runs, as it is: it has the parent's
  // first `length` tokens but the last, which is its own, and shares the blocks of those that are
  // computed; a block that is filled in part is copied when the child is admitted, before anybody
  // who waits and was not preempted. Until then it keeps the shared blocks, but gives them back,
  // to be recomputed, before anybody is preempted. For several answers to one prompt, and for
  // beams. With paged memory only; 1 < length < max_length.
  void Fork(RequestId parent, RequestId child, int32_t length, int32_t max_length,
            std::optional<PrefixUse> prefix = std::nullopt, const Terms& terms = {});
  // Removes a sequence, waiting or running; its blocks are free at once, except for what the tree
  // keeps of them: what was computed, or with kForget no more than it knows already. False when
  // unknown.
  enum class Afterwards { kRemember, kForget };
  bool Remove(RequestId request, Afterwards afterwards = Afterwards::kRemember);

  // Those that cannot meet their deadline any more, for the caller to Remove before PlanStep: whose
  // deadline has come; and of the waiting ones, while others run, those whose known tokens alone
  // take longer to compute than is left, by the speed that Observe measured. (Where nothing runs
  // they begin at once, and are measured.)
  std::vector<RequestId> Overdue(TimePoint now) const;

  // The next step:
  // - Every running sequence, in order of admission, is secured a block for its next token. Where
  //   there is none, blocks that only the tree holds are evicted; then waiting forks give back
  //   what they share; then the latest running sequence
  //   is preempted: its blocks are given back and it waits, to be recomputed or to be brought back
  //   from the swap space, whichever is quicker by what Observe measured. The latest is not
  //   preempted for its own sake: it sits out the step. The first of all breaks pins.
  // - Decoding sequences get their row; then those in prefill get chunks, in order of admission, as
  //   rows and free blocks allow.
  // - Waiting sequences are admitted while rows, places and blocks allow, unless this step
  //   preempted. With static batching: only where nothing runs, and then as many as places and
  //   blocks allow. Admission looks ahead: there must be blocks for all known tokens of every
  //   running sequence and of the new one, and for kBlockTokens more each, so that the newcomer
  //   does not soon preempt others or fall itself. The order is that of waiting_queue.h, but within
  //   a turn see reorder_window; and who would soon find a block more of its beginning, because a
  //   running sequence is computing it, waits until all that they share is there. Preempted ones
  //   come first; they neither wait nor are overtaken.
  // The plan is empty only when the scheduler is. Every plan must be given to Commit.
  StepPlan PlanStep();
  // Blocks for `wanted` drafted tokens behind the slice's last, at most its draft_room: how many of
  // them it got (and slice.drafted is). Takes free blocks and cached ones that nobody uses, and
  // preempts nobody. Before Commit, the caller may lower slice.drafted.
  int32_t ReserveDraft(Slice& slice, int32_t wanted);
  // What the step did: every slice of `plan` was computed. `appended[i]` tokens were added to the
  // sequence of slice i (0 where it did not sample, at least 1 where it did; all but the last of
  // them were drafted, so that their keys and values are in the blocks); blocks for drafts that
  // were not right are given back. Call Remove for
  // sequences that ended, before or after (after, so that the tree learns what the step computed).
  // Slices of removed sequences are ignored.
  void Commit(const StepPlan& plan, std::span<const int32_t> appended);

  // What the step took, from its plan to its last event: the next chunks depend on it.
  void Observe(const StepPlan& plan, Duration took);
  // What copying so many blocks between the pool and the swap space took.
  void ObserveSwap(int32_t blocks, Duration took) { cost_.ObserveCopies(blocks, took); }
  const StepCost& cost() const { return cost_; }

  // The waiting sequences that the next step may admit, as far as places go: for a caller that
  // brings their beginnings back into the tree first.
  std::vector<RequestId> NextToAdmit() const;
  // A held sequence is not admitted (others may overtake it, in bounds): its caller is not done
  // with that. Not while nothing runs: a step must have something to do.
  void Hold(RequestId request, bool held);

  // The blocks of a running sequence, in order, maybe more than it has tokens. Valid until the next
  // call that changes the scheduler.
  std::span<const BlockId> BlockTable(RequestId request) const;
  int32_t running() const;
  int32_t waiting() const;
  const WaitingQueue& queue() const { return waiting_; }
  KvUsage usage() const;
  // Writes into `map` which sequences run and have which blocks, and how far they are filled.
  void Mark(KvMap& map) const;

 private:
  struct Sequence {
    RequestId request;
    int32_t length = 0;
    int32_t computed = 0;
    int32_t max_length = 0;
    std::vector<BlockRef> blocks;
    std::vector<BlockId> block_table;  // the ids of `blocks`
    std::optional<PrefixUse> prefix;
    PrefixTree::Cursor cursor;                // how far its blocks are in the tree
    std::vector<BlockRef> swapped;            // copies of its first blocks, of the swap space
    int32_t swapped_tokens = 0;               // that they hold
    std::optional<PrefixTree::Match> forked;  // what it shares, from Fork until it is admitted
    std::optional<TimePoint> deadline;
    int32_t max_chunk = 0;
    bool charged = false;  // to its client, for its prompt
    bool waited = false;   // for a prefix
    bool held = false;

    int32_t pending() const { return length - computed; }
    int32_t covered() const { return static_cast<int32_t>(blocks.size()) * kBlockTokens; }
    std::span<const TokenId> known() const {
      return std::span(*prefix->tokens).first(static_cast<size_t>(length));
    }
  };
  enum class Tail { kWholeBlocks, kAll };

  Sequence& Insert(RequestId request, int32_t tokens, int32_t max_length,
                   std::optional<PrefixUse> prefix, const Terms& terms);

  // What a step has left.
  struct Room {
    int32_t rows = 0;
    int32_t prefill = 0;  // of them, for prefill
  };

  void SecureNextTokens(StepPlan& plan);
  void Preempt(StepPlan& plan);
  void SwapOut(Sequence& sequence, StepPlan& plan);
  void SwapIn(Sequence& sequence, StepPlan& plan);
  int32_t WorthKeeping(const Sequence& sequence) const;
  bool GiveBackFork(StepPlan& plan);
  void PlanRunning(StepPlan& plan, Room& room);
  void PlanSlice(Sequence& sequence, StepPlan& plan, Room& room);
  int32_t ChunkOf(const Sequence& sequence, const Room& room) const;
  void GiveDraftRoom(StepPlan& plan, const Room& room) const;
  bool Cover(Sequence& sequence, int32_t tokens);
  void Release(Sequence& sequence);
  // Makes what `sequence` has computed known to the tree.
  void Remember(Sequence& sequence, Tail tail);

  // scheduler_admission.cc
  void Admit(StepPlan& plan, Room& room);
  bool HasPlace() const;
  bool is_static() const { return config_.batching == Batching::kStatic; }
  std::vector<Sequence*> Candidates();
  std::vector<Sequence*> CandidatesOf(const WaitingQueue::Turn& turn);
  bool TryAdmit(Sequence& sequence, StepPlan& plan);
  void Begin(Sequence& sequence, PrefixTree::Match match, StepPlan& plan);
  static PrefixTree::Match ShareOf(const PrefixTree::Match& match);
  bool SecureBeginning(Sequence& sequence, PrefixTree::Match& match);
  bool Fits(const Sequence& sequence, const PrefixTree::Match& match) const;
  bool CannotMeet(const Sequence& sequence, Duration left) const;
  bool WaitsForPrefix(const Sequence& sequence, int32_t cached) const;
  std::span<const TokenId> Findable(const Sequence& sequence) const;
  int32_t Obtainable() const;
  static int32_t BlocksAhead(const Sequence& sequence);
  static void Append(Sequence& sequence, std::vector<BlockRef> blocks);

  // scheduler_regions.cc
  bool is_contiguous() const { return config_.layout == KvLayout::kContiguous; }
  std::optional<std::vector<BlockRef>> TryReserve(const Sequence& sequence, StepPlan& plan);
  void Compact(StepPlan& plan);

  SchedulerConfig config_;
  BlockPool* pool_;
  PrefixTree* tree_;
  BlockPool* swap_;
  StepCost cost_;
  std::unordered_map<RequestId, Sequence> sequences_;  // nodes stay where they are
  WaitingQueue waiting_;
  std::vector<Sequence*> running_;     // in order of admission
  std::vector<BlockRef> copied_from_;  // the plan's, of pool and swap space, kept until Commit
  std::set<std::pair<TimePoint, RequestId>> deadlines_;
  int32_t longest_with_deadline_ = 0;  // tokens of the longest prompt that had one
  int64_t compactions_ = 0;
  int64_t moved_blocks_ = 0;
};

}  // namespace millrace
