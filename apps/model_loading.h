// From flags to a model that is ready to run: what `serve`, `run`, `bench` and `inspect` share. The
// only place, with the verbs themselves, that reads the environment.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "base/topology.h"
#include "chat_template/chat_template.h"
#include "engine/engine.h"
#include "gguf/gguf.h"
#include "model/transformer.h"
#include "paged_kv/kv_plan.h"
#include "paged_kv/kv_store.h"
#include "tokenizer/tokenizer.h"

namespace millrace {

class Verb;

// The flags of every verb that runs a model, as the user wrote them.
struct ModelFlags {
  std::string model;  // a GGUF file; empty: the embedded demo model
  int threads = 0;    // 0: one per physical core
  std::string pinning = "auto";
  std::string isa;  // empty: the best of this CPU (also MILLRACE_ISA)
  std::string kv_type = "bf16";
  std::string attention = "flash";
  std::string weights = "auto";       // packed where memory suffices, else mapped
  std::string weights_cache = "off";  // or a folder
  int32_t context = 0;                // 0: the model's, at most 8192 or what the KV memory holds
  std::string kv_memory;      // "2GiB", or "50%" of what is free; empty: what the context times the
                              // running sequences needs, at most a quarter of what is free
  std::string kv = "paged";   // or contiguous
  int32_t max_running = 16;   // sequences that run together
  int32_t step_tokens = 512;  // rows of a step
  int32_t prefill_chunk = 512;  // prefill tokens of one sequence in a step
  std::string batching = "continuous";
  uint64_t swap_memory = uint64_t{512} << 20;  // bytes for blocks of preempted requests
  double target_itl = 100;  // milliseconds between the tokens of running streams; 0: no target
  std::string prefix_cache = "on";
  std::string prefix_cache_dir;                    // empty: cached blocks are kept in memory only
  uint64_t prefix_cache_disk = uint64_t{8} << 30;  // bytes that the directory may take
  std::string prefix_cache_disk_use = "measured";
  std::string speculate = "off";
  std::string draft;  // a GGUF file; empty: the embedded one, for the embedded model
  int32_t max_draft = 12;
  std::vector<std::string> adapters;  // NAME=FILE[:SCALE] each
};

// Registers the flags above (and MODEL as a positional) on a verb.
void AddModelFlags(Verb& verb, ModelFlags& flags);
void AddModelFileFlag(Verb& verb, ModelFlags& flags);  // MODEL alone

// --batching, --target-itl and --swap-memory, for the verbs that run many requests at once.
void AddBatchingFlag(Verb& verb, ModelFlags& flags);
// --prefix-cache and its directory, for the verbs that run an engine.
void AddPrefixCacheFlags(Verb& verb, ModelFlags& flags);
// --speculate, --draft and --max-draft, for the verbs that answer. What stands in `flags` is the
// default: off, since what steps take is first measured for up to 0.6 s; a server sets auto.
void AddSpeculationFlags(Verb& verb, ModelFlags& flags);

// --lora, for the verbs that answer; AddAdapters (adapter_loading.h) reads it.
void AddAdapterFlag(Verb& verb, ModelFlags& flags);

// Opens the file that the flags name, or the embedded model.
Result<MappedGguf> OpenModelFile(const ModelFlags& flags);

// Everything that stays in memory. Order of members: what is used by others comes first.
struct LoadedModel {
  Topology topology;
  ThreadPlan threads;
  WeightStorage storage = WeightStorage::kPacked;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;  // absent where the file has none
  std::string chat_template_source;
  std::unique_ptr<Transformer> model;  // moved into an Engine by MakeEngine
  std::string id;                      // "evidence-target", from general.name or the file's name
  ModelInfo info;
  Isa isa = Isa::kScalar;
  KvType kv_type = KvType::kBf16;
  int32_t max_positions = 0;  // of a sequence
  // What keys and values depend on beside the tokens; only where the flags name a cache directory.
  std::string kv_identity;
  // The model that drafts for it, where the flags ask for one; moved into the engine, too.
  std::unique_ptr<Transformer> draft;
  ModelInfo draft_info;
};

// Loads with a progress line on stderr where that is a terminal. The file is unmapped afterwards,
// unless --weights mapped keeps it.
Result<LoadedModel> LoadModel(const ModelFlags& flags);

// Loads the draft model that the flags name, or the embedded one for the embedded model, where
// speculation may use it. Refused: a vocabulary that is not the target's.
Status LoadDraft(const ModelFlags& flags, const TransformerOptions& options, LoadedModel& loaded);

// What pruning scores words with (ServedModel::surprises): the draft model that the flags name, or
// the embedded one, as an instance of its own, which is loaded when it is first asked; empty where
// there is none.
std::function<Result<std::vector<float>>(std::span<const TokenId>)> DraftSurprises(
    const ModelFlags& flags, Isa isa);

// How long a sequence may be and how many blocks there are.
Result<KvPlan> PlanKv(const ModelFlags& flags, const LoadedModel& loaded);

// Moves loaded.model into a new engine. loaded.pool and loaded.tokenizer must outlive it.
Result<std::unique_ptr<Engine>> MakeEngine(const ModelFlags& flags, LoadedModel& loaded,
                                           EngineConfig config = {});

}  // namespace millrace
