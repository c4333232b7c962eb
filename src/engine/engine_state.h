// Engine::State: what the engine's thread owns, and the inbox through which other threads reach it.
//
// Invariants: everything but the members under "shared" is touched by the engine's thread only. A
// request is in `inbox`, or in `live` and the scheduler; when it leaves, its sink has had, or gets
// next, its finish event. No sink is called with the mutex held.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/queue_pace.h"
#include "engine/timeline.h"
#include "prefix_cache/prefix_tree.h"
#include "speculative_decoding/speculator.h"
#include "speculative_decoding/verify_draft.h"

namespace millrace {

// One accepted request, from Submit to its finish event.
struct LiveRequest {
  RequestId id;
  std::vector<TokenId> tokens;  // prompt and output
  std::vector<TokenId> stop_tokens;
  int32_t max_length = 0;  // prompt and output at most
  Sampler sampler;
  std::optional<OutputMatcher> matcher;  // of a constrained answer
  EventSink sink;
  std::vector<LiveRequest> forks;  // other answers to the prompt: they begin when it is computed
  bool prefix_cache = true;
  std::string cache_space;  // the request's and the adapter's (cache_space.h)
  std::optional<AdapterId> adapter;
  PinAction pin = PinAction::kNone;
  Terms terms;
  bool restored = false;      // the disk tier was asked for its beginning
  int32_t queued_tokens = 0;  // its part of the queue's
  Speculation speculate = Speculation::kOff;
  bool explain = false;
  bool score_prompt = false;
  std::vector<Sampled> prompt_scores;  // of the prompt's tokens from the second on, as far as known

  TimePoint arrival{};
  std::optional<TimePoint> first_scheduled;
  std::optional<TimePoint> first_token;
  RequestTimings timings;  // the counts; the durations are computed at the end
  int64_t last_step = -1;  // the step that computed rows of it last, from 0
  bool preempted = false;  // and has not begun again
  int32_t reached = 0;     // tokens computed since it last began
  int32_t lost = 0;        // tokens that were computed when it was last preempted
};

struct Engine::State {
  State(const EngineConfig& engine_config, std::unique_ptr<Model> engine_model, KvStore engine_kv,
        Clock engine_clock, std::unique_ptr<DiskTier> disk_tier, std::optional<KvStore> swap_memory,
        std::unique_ptr<DraftModel> draft_model);

  // The stages of a step, in order. A Cancel is applied, and its blocks are free, before PlanStep.
  void AdmitInbox();
  void EndOverdue();
  void RestoreFromDisk();
  StepPlan PlanStep();
  Duration Swap(const StepPlan& plan);  // how long it took
  void Draft(StepPlan& plan);
  void MakeBatch(const StepPlan& plan);
  void Verify(const StepPlan& plan, MatrixView<const float> logits);
  void Commit(const StepPlan& plan);
  void AccountForDrafts();
  void Emit();
  bool PublishStats();  // whether any request is left, in the inbox too

  // Removes the request from the scheduler at once and calls its sink with the finish event.
  void End(RequestId id, FinishReason reason, std::string message = {});
  void EndAll();
  // The message of what the sink threw; nothing where it did not.
  static std::optional<std::string> Call(const EventSink& sink, const Event& event);
  KvMap MapOfKv(KvLook look) const;
  PrefixPicture PictureOfPrefixes(size_t most) const;

  // engine_scores.cc
  static bool WantsScores(const LiveRequest& request, const Slice& slice);
  static int32_t LogitRows(const LiveRequest& request, const Slice& slice);
  static void ScorePrompt(LiveRequest& request, const Slice& slice, MatrixView<const float> logits);

  // engine_forks.cc
  void Begin(LiveRequest&& request);  // gives it, or its forks too, to the scheduler
  void BeginForks(LiveRequest& parent, MatrixView<const float> row, TimePoint now);
  void CommitForks();
  void EndFork(RequestId id, FinishReason reason);
  void Promote(LiveRequest& ended);
  static int32_t CountWithForks(const LiveRequest& request);

  // A fork that got its first token in this step.
  struct Birth {
    RequestId parent, child;
  };
  // What a step brought to one request. `finish` is set where that ended it.
  struct Outcome {
    LiveRequest* request = nullptr;
    std::vector<Sampled> tokens;
    std::optional<DraftReport> draft;
    std::optional<FinishReason> finish;
    std::string message;
  };
  void CountRows(LiveRequest& request, const Slice& slice);
  Outcome VerifyOne(LiveRequest& request, const SpeculationSlot* slot,
                    MatrixView<const float> logits, TimePoint now);
  void Forget(const LiveRequest& request);
  FinishInfo FinishInfoOf(const LiveRequest& request, FinishReason reason,
                          std::string message) const;
  void LeaveQueue(LiveRequest& request, TimePoint now);
  void ApplyPin(LiveRequest& request);

  // engine_timeline.cc: before Emit, while those that end are still there; and at the end.
  void NoteParts(const StepPlan& plan);
  void NoteStep(TimePoint begun, TimePoint ended);

  // engine_disk.cc
  void StartDisk();
  bool RestoreOne(const LiveRequest& request, std::optional<TimePoint> deadline);
  std::optional<BlockRef> LoadBlock(const Digest& chain, std::span<const TokenId> tokens);
  Duration MeasureCompute();
  void StoreBlock(const KnownBlock& block, DiskTier::WhenFull when_full);
  void SaveToDisk();

  // engine_draft.cc
  void StartSpeculation();
  void MakeSlots(const StepPlan& plan);
  void MakeDrafts(StepPlan& plan);

  // engine_swap.cc
  void StartSwap();

  EngineConfig config;
  const std::unique_ptr<Model> model;
  KvStore kv;
  const Clock clock;
  int32_t longest = 0;  // tokens of the longest sequence that context and KV memory allow

  BlockPool pool;
  std::optional<PrefixTree> tree;        // none where the prefix cache is off
  const std::unique_ptr<DiskTier> disk;  // none where there is no such tier
  bool disk_in_use = false;
  std::optional<KvStore> swap;  // none where there is no such memory
  std::optional<BlockPool> swap_pool;
  Scheduler scheduler;
  Speculator speculator;
  std::map<RequestId, LiveRequest> live;   // in order of arrival
  Batch batch;                             // of the current step
  std::vector<SpeculationSlot> slots;      // of the current step: one per decoding sequence
  TimePoint draft_begun{}, draft_ended{};  // of the current step
  std::vector<Outcome> outcomes;           // of the current step: one per slice that samples
  std::vector<int32_t> appended;           // of the current step: per slice
  std::vector<Birth> births;               // of the current step
  EngineStats progress;                    // `waiting`: preempted ones only
  // Requests that left the queue in this step, not yet subtracted from the shared counts.
  int32_t dequeued_requests = 0;
  int64_t dequeued_tokens = 0;
  QueuePace pace;
  Timeline timeline;
  TimelineStep timeline_step;  // the current one

  // With the mutex held: whether so many answers to a prompt may join the queue.
  Status CheckRoom(int32_t prompt_tokens, int32_t answers) const;

  // Shared: guarded by `mutex`.
  struct Cancellation {
    RequestId request;
    FinishReason reason;
  };
  mutable std::mutex mutex;
  std::condition_variable wake;
  std::vector<LiveRequest> inbox;
  std::vector<Cancellation> cancellations;
  std::vector<std::function<void(const State&)>> inspections;
  int64_t next_id = 0;
  int32_t queued_requests = 0;  // accepted, never scheduled yet
  int64_t queued_tokens = 0;    // their prompts
  bool draining = false;
  bool stop = false;
  EngineStats published;
  QueuePace published_pace;
};

}  // namespace millrace
