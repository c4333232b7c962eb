// Replays of traces through the real scheduler, block pool and prefix tree, without a model: how
// many requests a KV memory holds, and what a prefix cache finds. Deterministic: time is that of a
// simple cost of steps, never a clock's.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "continuous_batching/scheduler.h"
#include "lab/trace.h"

namespace millrace {

// What a region must hold where memory is contiguous.
enum class Reserve {
  kContext,        // the longest sequence served: nobody said how long the answer may be
  kLongestAnswer,  // the prompt and the longest answer of the trace, as max_tokens
  kOracle,         // the prompt and the very answer, known beforehand
};

struct AdmissionReplay {
  KvLayout layout = KvLayout::kPaged;
  Reserve reserve = Reserve::kContext;
  int32_t blocks = 0;   // of memory
  int32_t context = 0;  // tokens; longer requests of the trace are cut to it
  double scale = 1;     // of all lengths
};

struct AdmissionFigures {
  int64_t requests = 0;  // those that ended
  int64_t steps = 0;     // while anybody waited: the figures below are of these steps
  double mean_running = 0;
  int32_t most_running = 0;
  double filled = 0;    // share of the memory's positions that hold something, mean
  double unused = 0;    // share of the taken blocks' positions that hold nothing: internal
  double unusable = 0;  // share of the memory that is free but not side by side: external
  int64_t compactions = 0;
  int64_t moved_blocks = 0;
  int64_t preemptions = 0;
};

// All requests wait from the start, so that memory is the only bound; they come in the trace's
// order and end with the trace's answer lengths.
AdmissionFigures ReplayAdmission(std::span<const TraceRequest> trace,
                                 const AdmissionReplay& options);

struct PrefixReplay {
  int32_t blocks = 0;
  int32_t tokens_per_trace_block = kBlockTokens;  // what 512 tokens are scaled to
  int32_t max_running = 64;
  double seconds_per_step = 0.005;
  double seconds_per_row = 0.0003;
};

struct PrefixFigures {
  int64_t blocks = 0;  // of the trace's inputs
  int64_t hits = 0;    // of them, found when the request began
  int64_t tokens = 0;  // the same in tokens
  int64_t cached = 0;
  int64_t evicted = 0;
  int64_t computed = 0;  // rows
  double seconds = 0;    // of simulated time
};

// Requests arrive when the trace says. A trace block is hit when all its tokens were found (but the
// last token of a prompt, whose logits are wanted, is always computed).
PrefixFigures ReplayPrefixes(std::span<const TraceRequest> trace, const PrefixReplay& options);

// What a cache without limit that knows a request from the moment it came would find.
PrefixFigures IdealPrefixes(std::span<const TraceRequest> trace, int32_t tokens_per_trace_block);
// Different blocks in the trace: the memory at which nothing need ever be evicted, answers apart.
int64_t DistinctBlocks(std::span<const TraceRequest> trace);

}  // namespace millrace
