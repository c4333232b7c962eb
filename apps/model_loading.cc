#include "model_loading.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "adapter_loading.h"
#include "base/cgroup.h"
#include "command_line.h"
#include "embedded_model.h"
#include "prefix_cache/disk_tier.h"

namespace millrace {
namespace {

constexpr int32_t kDefaultContext = 8192;  // without --context: the model's, but no more than this

Result<Isa> IsaOf(const ModelFlags& flags) {
  if (flags.isa.empty()) return ChooseIsa(std::nullopt);
  return ChooseIsa(flags.isa);
}

Result<AttentionKind> AttentionOf(const ModelFlags& flags) {
  if (flags.attention == "flash") return AttentionKind::kFlash;
  if (flags.attention == "standard") return AttentionKind::kStandard;
  return Error{"unknown attention '" + flags.attention + "': choose flash or standard"};
}

// Keys and values of one sequence of the longest length: the least that is of use.
uint64_t LeastKvBytes(const TransformerConfig& config, KvType type, int32_t positions) {
  const KvShape shape{config.layers, config.kv_heads, config.head_dim};
  return static_cast<uint64_t>(KvStore::BlockBytes(shape, type)) *
         static_cast<uint64_t>(BlocksFor(positions));
}

// --weights auto: in place, and a line that says so, where packed weights would not find room
// beside the adapters, which lie in memory in any case.
WeightStorage StorageFor(const GgufFile& file, uint64_t kv_bytes, uint64_t adapter_bytes) {
  uint64_t weight_bytes = adapter_bytes;
  for (const GgufTensor& tensor : file.tensors()) weight_bytes += tensor.data.size();
  const uint64_t available = AvailableMemory();
  const WeightStorage storage = ChooseStorage(weight_bytes, kv_bytes, available);
  if (storage == WeightStorage::kMapped) {
    std::fprintf(
        stderr,
        "memory is short: %llu MiB of weights and adapters and %llu MiB for one sequence, "
        "%llu MiB available; using the weights in the file's pages, which is slow (--weights "
        "packed insists)\n",
        static_cast<unsigned long long>(weight_bytes >> 20),
        static_cast<unsigned long long>(kv_bytes >> 20),
        static_cast<unsigned long long>(available >> 20));
  }
  return storage;
}

Result<WeightOptions> WeightsOf(const ModelFlags& flags, std::shared_ptr<const MappedGguf> mapped,
                                uint64_t kv_bytes) {
  WeightOptions options;
  if (flags.weights == "auto") {
    ASSIGN_OR_RETURN(const uint64_t adapter_bytes, AdapterBytes(flags.adapters));
    options.storage = StorageFor(mapped->file(), kv_bytes, adapter_bytes);
  } else if (flags.weights == "mapped") {
    options.storage = WeightStorage::kMapped;
  } else if (flags.weights != "packed") {
    return Error{"unknown weights '" + flags.weights + "': choose auto, packed or mapped"};
  }
  if (flags.weights_cache != "off") options.cache_directory = flags.weights_cache;
  options.mapped = std::move(mapped);
  options.warn = [](const std::string& sentence) {
    std::fprintf(stderr, "warning: %s\n", sentence.c_str());
  };
  return options;
}

// To be raised when a change gives keys or values other bits.
constexpr int kKvRevision = 2;

std::string KvIdentity(const MappedGguf& file, const ModelFlags& flags, const LoadedModel& loaded) {
  return "file " + std::to_string(ChecksumOf(file.bytes())) + " of " +
         std::to_string(file.bytes().size()) + " bytes, " + std::string(NameOf(loaded.kv_type)) +
         ", " + std::string(NameOf(loaded.isa)) + ", " + flags.attention + ", revision " +
         std::to_string(kKvRevision);
}

// None where no directory is named or the prefix cache is off.
Result<std::unique_ptr<DiskTier>> OpenDiskTier(const ModelFlags& flags, const LoadedModel& loaded) {
  if (flags.prefix_cache_dir.empty() || flags.prefix_cache != "on" || flags.kv == "contiguous") {
    return std::unique_ptr<DiskTier>();
  }
  DiskTierConfig config;
  config.directory = flags.prefix_cache_dir;
  config.identity = loaded.kv_identity;
  config.block_bytes = KvStore::BlockBytes(loaded.info.kv_shape, loaded.kv_type);
  config.max_bytes = static_cast<int64_t>(std::min<uint64_t>(flags.prefix_cache_disk, INT64_MAX));
  return DiskTier::Open(config);
}

LoadProgress ProgressLine() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](int32_t done, int32_t total) {
    std::fprintf(stderr, "\rloading: layer %d of %d", done, total);
    if (done == total) std::fprintf(stderr, "\r\033[K");
  };
}

std::string NameFromPath(const std::string& path) {
  return std::filesystem::path(path).stem().string();
}

// Memory for the blocks of preempted requests; touched, and so taken, only when it is used.
Result<std::optional<KvStore>> MakeSwap(const ModelFlags& flags, const LoadedModel& loaded) {
  const auto block_bytes =
      static_cast<uint64_t>(KvStore::BlockBytes(loaded.info.kv_shape, loaded.kv_type));
  const uint64_t blocks = std::min<uint64_t>(flags.swap_memory / block_bytes, 1u << 30);
  if (blocks == 0) return std::optional<KvStore>();
  ASSIGN_OR_RETURN(KvStore swap, KvStore::Create(loaded.info.kv_shape, loaded.kv_type,
                                                 static_cast<int32_t>(blocks)));
  return std::optional<KvStore>(std::move(swap));
}

}  // namespace

void AddModelFileFlag(Verb& verb, ModelFlags& flags) {
  verb.Option("model", flags.model, "a GGUF file; without one, the embedded demo model")
      .Placeholder("MODEL");
}

void AddModelFlags(Verb& verb, ModelFlags& flags) {
  AddModelFileFlag(verb, flags);
  verb.Option("--threads", flags.threads, "threads (default: one per physical core)")
      .Env("MILLRACE_THREADS")
      .Range(0, 1024);
  verb.Option("--pinning", flags.pinning,
              "bind each thread but the first to a core: on, off, or auto: where the machine is "
              "this process's alone")
      .Env("MILLRACE_PINNING")
      .ShowDefault();
  verb.Option("--isa", flags.isa,
              "instruction set: scalar, avx2, avxvnni, avx512, or on ARM neon-dot, neon-i8mm "
              "(default: the best)")
      .Env("MILLRACE_ISA");
  verb.Option("--kv-type", flags.kv_type,
              "KV cache element: bf16, f32 or q8_0 (half of bf16, and less exact)")
      .Env("MILLRACE_KV_TYPE")
      .ShowDefault();
  verb.Option("--attention", flags.attention, "flash or standard")
      .Env("MILLRACE_ATTENTION")
      .ShowDefault();
  verb.Option(
          "--weights", flags.weights,
          "packed (quick), mapped (slow; the file's own pages, for little memory), or auto: packed "
          "where it finds room")
      .Env("MILLRACE_WEIGHTS")
      .ShowDefault();
  verb.Option("--weights-cache", flags.weights_cache,
              "a folder for packed weights, so that the next start need not pack; or off")
      .Env("MILLRACE_WEIGHTS_CACHE")
      .Placeholder("DIR|off")
      .ShowDefault();
  verb.Option("--context", flags.context,
              "longest sequence, prompt and output (default: the model's, at most 8192)")
      .Env("MILLRACE_CONTEXT")
      .Size()
      .Range(0, 1 << 24);
  verb.Option("--kv-memory", flags.kv_memory,
              "memory for the KV cache, such as 2GiB, or a share of what is free, such as 50%")
      .Env("MILLRACE_KV_MEMORY")
      .Placeholder("SIZE|SHARE");
  verb.Option("--max-running", flags.max_running, "sequences that run together")
      .Env("MILLRACE_MAX_RUNNING")
      .ShowDefault()
      .Range(1, 4096);
  verb.Option("--step-tokens", flags.step_tokens, "rows computed in one step, decode first")
      .ShowDefault()
      .Range(1, 1 << 16);
  verb.Option("--prefill-chunk", flags.prefill_chunk, "prefill tokens of one sequence in a step")
      .ShowDefault()
      .Range(1, 1 << 16);
}

void AddBatchingFlag(Verb& verb, ModelFlags& flags) {
  verb.Option("--batching", flags.batching,
              "continuous; or static: a batch ends before the next begins, to compare with")
      .Env("MILLRACE_BATCHING")
      .ShowDefault()
      .OneOf({"continuous", "static"});
  verb.Option("--kv", flags.kv,
              "paged; or contiguous: one region of the maximal length per request and no "
              "prefix cache, to compare with")
      .Env("MILLRACE_KV")
      .ShowDefault()
      .OneOf({"paged", "contiguous"});
  verb.Option("--target-itl", flags.target_itl,
              "milliseconds between the tokens of running streams, which prefill chunks keep as "
              "measured; 0: no target; static batching has none")
      .Env("MILLRACE_TARGET_ITL")
      .ShowDefault()
      .RealRange(0.0, 60000.0);
  verb.Option("--swap-memory", flags.swap_memory,
              "most memory for what preempted requests had computed, such as 1GiB; used where "
              "copying is quicker than computing, as measured; 0: none")
      .Env("MILLRACE_SWAP_MEMORY")
      .ShowDefault()
      .Size();
}

void AddPrefixCacheFlags(Verb& verb, ModelFlags& flags) {
  verb.Option("--prefix-cache", flags.prefix_cache,
              "on: prompts that begin alike share what was computed; or off")
      .Env("MILLRACE_PREFIX_CACHE")
      .ShowDefault()
      .OneOf({"on", "off"});
  verb.Option("--prefix-cache-dir", flags.prefix_cache_dir,
              "a directory where cached prefixes outlive memory and restarts")
      .Env("MILLRACE_PREFIX_CACHE_DIR");
  verb.Option("--prefix-cache-disk", flags.prefix_cache_disk,
              "most bytes in that directory, such as 8GiB")
      .Env("MILLRACE_PREFIX_CACHE_DISK")
      .ShowDefault()
      .Size();
  verb.Option("--prefix-cache-disk-use", flags.prefix_cache_disk_use,
              "measured: blocks come from the directory where that is faster than computing "
              "them, as measured at the start; or always")
      .Env("MILLRACE_PREFIX_CACHE_DISK_USE")
      .ShowDefault()
      .OneOf({"measured", "always"});
}

void AddAdapterFlag(Verb& verb, ModelFlags& flags) {
  verb.Option("--lora", flags.adapters,
              "NAME=FILE[:SCALE]: a LoRA adapter in GGUF, which requests choose by its name as "
              "their model; repeatable");
}

Result<MappedGguf> OpenModelFile(const ModelFlags& flags) {
  if (!flags.model.empty()) return MappedGguf::Open(flags.model);
  return MappedGguf::FromStatic(EmbeddedTarget(), "embedded demo model");
}

Result<LoadedModel> LoadModel(const ModelFlags& flags) {
  ASSIGN_OR_RETURN(const Isa isa, IsaOf(flags));
  ASSIGN_OR_RETURN(const AttentionKind attention, AttentionOf(flags));
  ASSIGN_OR_RETURN(const KvType kv_type, ParseKvType(flags.kv_type));
  ASSIGN_OR_RETURN(MappedGguf opened, OpenModelFile(flags));
  const auto mapped = std::make_shared<const MappedGguf>(std::move(opened));
  const GgufFile& file = mapped->file();
  if (IsAdapter(file)) {
    return Error{file.name() +
                 ": this is an adapter, no model: give the model that it was made for, and the "
                 "adapter with --lora"};
  }

  LoadedModel loaded;
  loaded.isa = isa;
  loaded.kv_type = kv_type;
  ASSIGN_OR_RETURN(const Pinning pinning, ParsePinning(flags.pinning));
  loaded.topology = ReadTopology();
  loaded.threads = PlanThreads(loaded.topology, flags.threads, pinning, LoadAverage());
  loaded.pool = std::make_unique<ThreadPool>(loaded.threads);
  ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::FromGguf(file));
  loaded.tokenizer = std::make_unique<Tokenizer>(std::move(tokenizer));
  ASSIGN_OR_RETURN(const auto source, file.FindString("tokenizer.chat_template"));
  if (source) {
    ASSIGN_OR_RETURN(loaded.chat_template, ChatTemplate::Parse(*source));
    loaded.chat_template_source = *source;
  }
  ASSIGN_OR_RETURN(const TransformerConfig config, ReadTransformerConfig(file));
  TransformerOptions options;
  options.isa = isa;
  options.attention = attention;
  options.max_positions =
      flags.context > 0 ? flags.context : std::min(config.context_length, kDefaultContext);
  ASSIGN_OR_RETURN(options.weights,
                   WeightsOf(flags, mapped, LeastKvBytes(config, kv_type, options.max_positions)));
  loaded.storage = options.weights.storage;
  loaded.max_positions = options.max_positions;
  ASSIGN_OR_RETURN(loaded.model, Transformer::Load(file, options, *loaded.pool, ProgressLine()));
  RETURN_IF_ERROR(AddAdapters(flags.adapters, *loaded.model));
  loaded.info = loaded.model->info();
  if (loaded.tokenizer->vocab_size() > loaded.info.vocab_size) {
    return Error{file.name() + ": the tokenizer has " +
                 std::to_string(loaded.tokenizer->vocab_size()) +
                 " tokens, but the embedding holds " + std::to_string(loaded.info.vocab_size)};
  }
  if (!flags.prefix_cache_dir.empty()) loaded.kv_identity = KvIdentity(*mapped, flags, loaded);
  RETURN_IF_ERROR(LoadDraft(flags, options, loaded));
  loaded.id = flags.model.empty() ? loaded.info.name : NameFromPath(flags.model);
  return loaded;
}

Result<KvPlan> PlanKv(const ModelFlags& flags, const LoadedModel& loaded) {
  KvBudget budget;
  if (!flags.kv_memory.empty()) {
    ASSIGN_OR_RETURN(budget, ParseKvBudget(flags.kv_memory));
  }
  int64_t block_bytes = KvStore::BlockBytes(loaded.info.kv_shape, loaded.kv_type);
  // Every block has a twin in the draft model's store.
  if (loaded.draft) block_bytes += KvStore::BlockBytes(loaded.draft_info.kv_shape, loaded.kv_type);
  return PlanKv(budget, {.block_bytes = block_bytes,
                         .context_length = flags.context > 0 ? flags.context
                                                             : std::min(loaded.info.context_length,
                                                                        kDefaultContext),
                         .context_is_required = flags.context > 0,
                         .max_running = flags.max_running,
                         .free_bytes = static_cast<int64_t>(AvailableMemory())});
}

Result<std::unique_ptr<Engine>> MakeEngine(const ModelFlags& flags, LoadedModel& loaded,
                                           EngineConfig config) {
  ASSIGN_OR_RETURN(const KvPlan plan, PlanKv(flags, loaded));
  ASSIGN_OR_RETURN(KvStore kv, KvStore::Create(loaded.info.kv_shape, loaded.kv_type, plan.blocks));
  config.context_length = plan.context_length;
  config.scheduler.max_running = flags.max_running;
  config.scheduler.max_step_tokens = std::max(flags.step_tokens, flags.max_running);
  config.scheduler.max_chunk = flags.prefill_chunk;
  config.scheduler.batching =
      flags.batching == "static" ? Batching::kStatic : Batching::kContinuous;
  const Duration interval(static_cast<int64_t>(flags.target_itl * 1e6));
  if (interval > Duration(0) && config.scheduler.batching == Batching::kContinuous) {
    config.scheduler.target_interval = interval;
  }
  config.prefix_cache = flags.prefix_cache == "on";
  if (flags.prefix_cache_disk_use == "always") config.disk_use = EngineConfig::DiskUse::kAlways;
  if (flags.kv == "contiguous") {
    config.scheduler.layout = KvLayout::kContiguous;
    config.prefix_cache = false;
  }
  ASSIGN_OR_RETURN(config.speculation.mode, ParseSpeculation(flags.speculate));
  config.speculation.max_draft = flags.max_draft;
  config.speculation.measure_at_start = true;
  std::unique_ptr<DraftModel> draft;
  if (loaded.draft) {
    ASSIGN_OR_RETURN(KvStore draft_kv,
                     KvStore::Create(loaded.draft_info.kv_shape, loaded.kv_type, plan.blocks));
    const int32_t context = std::min(loaded.draft_info.context_length, plan.context_length);
    draft = std::make_unique<DraftModel>(DraftModel{
        .model = std::move(loaded.draft), .kv = std::move(draft_kv), .context_length = context});
  }
  ASSIGN_OR_RETURN(std::unique_ptr<DiskTier> disk, OpenDiskTier(flags, loaded));
  ASSIGN_OR_RETURN(std::optional<KvStore> swap, MakeSwap(flags, loaded));
  return std::make_unique<Engine>(config, std::move(loaded.model), std::move(kv), Clock(),
                                  std::move(disk), std::move(swap), std::move(draft));
}

}  // namespace millrace
