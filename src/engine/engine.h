// Engine: one thread that owns all mutable state of generation and moves it forward a step at a
// time.
//
// The straight line of Step(): admit inbox -> PlanStep -> Draft -> MakeBatch -> Forward -> Verify
// -> Commit -> emit. Invariant: every accepted request ends in exactly one finish event; blocks
// held == blocks of live sequences and of the prefix cache, which gives its own up where they are
// needed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "continuous_batching/scheduler.h"
#include "engine/request.h"
#include "engine/timeline.h"
#include "model/model.h"
#include "paged_kv/kv_map.h"
#include "paged_kv/kv_store.h"
#include "prefix_cache/disk_tier.h"
#include "prefix_cache/prefix_picture.h"
#include "speculative_decoding/model_drafter.h"
#include "speculative_decoding/speculation.h"

namespace millrace {

struct EngineConfig {
  SchedulerConfig scheduler = {};
  int32_t context_length = 4096;      // longest sequence served, prompt and output; <= the model's
  int32_t max_queued_requests = 256;  // waiting, not running
  int64_t max_queued_tokens = 1'000'000;
  bool prefix_cache = true;
  SpeculationConfig speculation = {};
  // With a disk tier: whether blocks are kept there and loaded. kMeasured: where loading one took
  // less time at the start than computing one.
  enum class DiskUse { kMeasured, kAlways };
  DiskUse disk_use = DiskUse::kMeasured;
  size_t timeline_steps = 0;  // that LastSteps can tell of
};

// Whether all values make sense; the message names the field.
Status Validate(const EngineConfig& config);

// A snapshot for health, metrics and tests.
struct EngineStats {
  int32_t running = 0;
  int32_t waiting = 0;
  int32_t blocks_held = 0;    // by live sequences, and pinned ones
  int32_t blocks_cached = 0;  // by the prefix cache alone: given up where they are needed
  int32_t blocks_pinned = 0;
  int32_t blocks_total = 0;
  KvUsage kv;  // fragmentation
  KvOverSteps kv_over_steps;
  int64_t kv_bytes = 0;  // of all blocks, the draft model's too; physical memory once written to
  bool kv_huge_pages = false;  // where the system has some
  int64_t steps = 0;
  int64_t tokens_computed = 0;  // rows that went through the model
  int64_t tokens_generated = 0;
  int64_t preemptions = 0;
  int64_t finished = 0;
  int64_t prefix_queries = 0;    // prompt tokens of requests that asked the prefix cache
  int64_t prefix_hits = 0;       // of them, tokens that were there
  int64_t prefix_evictions = 0;  // blocks
  bool disk_in_use = false;
  Duration disk_block_load{};     // one block, as measured at the start
  Duration disk_block_compute{};  // of it, the time that loading saves
  DiskTierStats disk;
  ModelStatistics model;
  Duration step_time{};     // of all steps, without swapping
  StepCost step_cost;       // what a step takes by its rows, as measured lately
  int32_t swap_blocks = 0;  // room for copies of preempted requests' blocks
  int32_t swap_blocks_held = 0;
  int64_t swapped_out = 0;     // blocks copied there
  int64_t swapped_in = 0;      // and back
  Duration swap_block_copy{};  // of one block, as measured lately
  int64_t expired = 0;         // requests that ended with kDeadline
  SpeculationStats speculation;
};

class Engine {
 public:
  // `config` must have passed Validate; a context longer than the model's is cut to the model's.
  // kv.blocks() is the capacity of the block pool; `kv` must have the model's shape. `clock` is
  // read by several threads. `disk`: where cached blocks go on eviction and at the end, and come
  // back from; its blocks are of kv's size. `swap`: memory of the same shape and type for copies of
  // preempted requests' blocks, used where that is quicker than computing them again. `draft`: the
  // draft model, whose store has as many blocks as `kv`.
  Engine(const EngineConfig& config, std::unique_ptr<Model> model, KvStore kv,
         Clock clock = Clock(), std::unique_ptr<DiskTier> disk = nullptr,
         std::optional<KvStore> swap = std::nullopt, std::unique_ptr<DraftModel> draft = nullptr);
  // Like Stop: requests that are left get their finish events. Then what the prefix cache holds is
  // written to the disk tier. Run must have returned.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // From any thread. Refused: an empty prompt or bad parameters (kInvalidArgument), a prompt that
  // leaves no room in the context or the KV memory (kTooLarge), a full queue (kExhausted), a
  // draining engine (kExhausted). A refused request leaves nothing behind and its sink is never
  // called. The sink may be called before Submit returns.
  Result<RequestId> Submit(Request request, EventSink sink);
  // From any thread: whether Submit would refuse any request now, for want of room or because the
  // engine drains: what costs nothing to ask before a prompt is made ready.
  Status CheckRoom() const;
  // Several answers to one prompt, each with its sampling and sink in place of the request's: the
  // prompt is computed once, and the answers share its blocks (with contiguous KV memory, each
  // computes its own). All are accepted or none; each is a request of its own from then on.
  struct Fork {
    SamplingParams sampling;
    EventSink sink;
  };
  Result<std::vector<RequestId>> SubmitForks(Request request, std::vector<Fork> forks);
  // From any thread; takes effect before the next step. Unknown or finished ids are ignored. The
  // finish event carries `reason` (kStop when the consumer met a stop string, kCancelled when the
  // client left).
  void Cancel(RequestId request, FinishReason reason = FinishReason::kCancelled);

  // One step; returns whether any request is left. For the engine's thread (or a test).
  bool Step();
  // Steps until Stop; sleeps while there is nothing to do. For the engine's thread.
  void Run();
  // From any thread: no new requests from now on (Submit gives kExhausted); those accepted go on.
  void Drain();
  // From any thread: ends Run after the current step; what is left is finished as kCancelled.
  void Stop();

  // From any thread: when somebody who is refused for a full queue should try again: the time that
  // those who wait now take to begin, as measured; a second where nobody waits or nothing has been
  // measured.
  Duration RetryAfter() const;

  EngineStats stats() const;  // from any thread
  // The last steps, at most `most`, oldest first; from any thread.
  std::vector<TimelineStep> LastSteps(size_t most) const;
  // From any thread: `look` is called once with the use of every KV block, on the engine's thread
  // between two steps; with an empty map, and from here, where the engine is stopping. The map is
  // valid during the call, which must be quick and must not call back into the engine. kBlocks:
  // without what the system says of the memory, which takes about a millisecond to ask.
  enum class KvLook { kBlocks, kMemoryToo };
  void InspectKv(std::function<void(const KvMap&)> look, KvLook what = KvLook::kMemoryToo);
  // The same with what the prefix cache holds, `most` runs at most: PrefixTree::Picture; an empty
  // one without a cache.
  void InspectPrefixes(size_t most, std::function<void(const PrefixPicture&)> look);
  const ModelInfo& info() const;
  const EngineConfig& config() const;

 private:
  struct State;
  bool Inspect(std::function<void(const State&)> look);  // false where the engine is stopping
  std::unique_ptr<State> state_;
};

}  // namespace millrace
