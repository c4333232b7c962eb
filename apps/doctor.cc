// millrace doctor: what this machine offers, and whether the build works on it.
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/cgroup.h"
#include "base/topology.h"
#include "command_line.h"
#include "generation.h"
#include "model_loading.h"
#include "reporting.h"
#include "simd/isa.h"
#include "verbs.h"
#include "what_fits.h"

namespace millrace {
namespace {

using nlohmann::ordered_json;

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// A value of /proc/meminfo or /proc/cpuinfo: the text after "key :".
std::string FindField(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || line.compare(0, key.size(), key) != 0) continue;
    const size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "unknown";
}

std::string Mebibytes(uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

// What the system's setting means for packed weights, which ask for huge pages.
std::string HugePages() {
  const std::string setting = FirstLine("/sys/kernel/mm/transparent_hugepage/enabled");
  if (setting.find("[never]") != std::string::npos) {
    return "never: weights lie in small pages, so reading them waits for address translation; as "
           "root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled";
  }
  if (setting.empty()) return "unknown to this system";
  return setting + ": granted to weights where memory is not fragmented";
}

// Which flags of /proc/cpuinfo an instruction set needs.
struct IsaNeeds {
  std::string_view isa;
  std::vector<std::string> flags;
};
std::vector<IsaNeeds> NeedsOfIsas() {
#if defined(__aarch64__)
  return {{"neon-dot", {"asimddp"}}, {"neon-i8mm", {"asimddp", "i8mm"}}};
#else
  return {
      {"avx2", {"avx2", "fma", "f16c"}},
      {"avxvnni", {"avx2", "fma", "f16c", "avx_vnni"}},
      {"avx512", {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16"}}};
#endif
}

void DescribeIsa(Isa chosen, bool asked_for, ordered_json& out) {
  out["chosen_instruction_set"] = NameOf(chosen);
  out["chosen_because"] = asked_for ? "it was asked for, by --isa or MILLRACE_ISA"
                                    : "it is the best that this processor and system run";
  const std::string has = " " + FindField("/proc/cpuinfo", "flags") + " " +
                          FindField("/proc/cpuinfo", "Features") + " ";
  for (const IsaNeeds& needs : NeedsOfIsas()) {
    std::string missing;
    for (const std::string& flag : needs.flags) {
      if (has.find(" " + flag + " ") == std::string::npos) missing += " " + flag;
    }
    if (!missing.empty()) out["missing_for_" + std::string(needs.isa)] = missing.substr(1);
  }
}

void DescribeMemory(ordered_json& out) {
  out["memory_total"] = FindField("/proc/meminfo", "MemTotal");
  out["memory_available"] = Mebibytes(AvailableMemory());
  uint64_t machine = 0;
  for (const MemoryNode& node : ReadMemoryNodes()) machine += node.bytes;
  // Version 1 of control groups writes a huge number for none.
  const auto left = ReadCgroupLimits().memory_left;
  const bool limited = left && (machine == 0 || *left < machine);
  out["container_memory_left"] = limited ? Mebibytes(*left) : "no limit";
  out["transparent_huge_pages"] = HugePages();
  for (const MemoryNode& node : ReadMemoryNodes()) {
    out["memory_node_list"].push_back(
        {{"node", node.number}, {"cores", node.cores}, {"memory", Mebibytes(node.bytes)}});
  }
}

ordered_json JsonOf(const KvFit& fit) {
  return {{"kv_type", NameOf(fit.type)},
          {"kv_bytes_per_token", fit.bytes_per_token},
          {"largest_context", fit.largest_context},
          {"sequences", fit.sequences}};
}

// `context`: of each of the sequences.
void DescribeFits(const ModelFlags& flags, const LoadedModel& loaded, int32_t context,
                  ordered_json& out) {
  const auto free_bytes = static_cast<int64_t>(AvailableMemory());
  out["sequences_below_are_of_tokens"] = context;
  for (const KvFit& fit :
       FitKv(loaded.info.kv_shape, loaded.info.context_length, context, free_bytes)) {
    out["fits"].push_back(JsonOf(fit));
  }
  if (!flags.model.empty()) return;
  for (const ModelFit& fit : FitModels(context, free_bytes)) {
    ordered_json row = {{"model", fit.shape},
                        {"type", fit.type},
                        {"weights", Mebibytes(static_cast<uint64_t>(fit.weight_bytes))}};
    if (fit.kv.empty()) row["fits"] = "no";
    for (const KvFit& kv : fit.kv) {
      const std::string name(NameOf(kv.type));
      row["context_" + name] = kv.largest_context;
      row["sequences_" + name] = kv.sequences;
    }
    out["models_that_fit"].push_back(std::move(row));
  }
}

// One line for a value, one for each row of a table.
void Print(const ordered_json& out) {
  const auto text = [](const ordered_json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
  };
  for (const auto& [key, value] : out.items()) {
    const bool is_table = value.is_array() && !value.empty() && value[0].is_object();
    if (!is_table) std::printf("%-34s %s\n", key.c_str(), text(value).c_str());
    for (size_t i = 0; is_table && i < value.size(); ++i) {
      std::string row;
      for (const auto& [name, cell] : value[i].items()) row += "  " + name + " " + text(cell);
      std::printf("%-34s%s\n", i == 0 ? key.c_str() : "", row.substr(1).c_str());
    }
  }
}

void DescribeThreads(const LoadedModel& loaded, ordered_json& out) {
  const Topology& topology = loaded.topology;
  out["physical_cores"] = topology.cores.size();
  out["hardware_threads"] = topology.cpus;
  out["memory_nodes"] = topology.nodes;
  out["all_of_the_machine"] = topology.whole_machine;
  out["processor_quota"] = topology.quota ? ordered_json(*topology.quota) : ordered_json("none");
  out["threads"] = loaded.threads.threads.size();
  out["pinned"] = std::string(loaded.threads.pinned ? "yes" : "no") + ": " + loaded.threads.reason;
}

// The chosen instruction set must give what the portable kernels give, on the model the user has.
Status SelfTest(const ModelFlags& flags, ordered_json& out) {
  std::vector<std::vector<TokenId>> answers;
  ModelFlags test = flags;
  test.max_running = 1;
  test.context = 256;
  for (const std::string& isa : {std::string("scalar"), flags.isa}) {
    test.isa = isa;
    ASSIGN_OR_RETURN(LoadedModel loaded, LoadModel(test));
    ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, MakeEngine(test, loaded));
    Request request;
    request.prompt =
        loaded.tokenizer->Encode("The mill stands by the race.", SpecialTokens::kAsText);
    request.sampling.temperature = 0;
    request.max_tokens = 8;
    ASSIGN_OR_RETURN(Generated generated,
                     Generate(*engine, std::move(request), [](TokenId) { return true; }));
    answers.push_back(std::move(generated.ids));
  }
  out["same_tokens_as_portable_kernels"] = answers[0] == answers[1];
  return {};
}

Status Doctor(const ModelFlags& flags, bool json) {
  ordered_json out;
  out["cpu"] = FindField("/proc/cpuinfo", "model name");
  for (const Isa isa : SupportedIsas()) out["instruction_sets"].push_back(NameOf(isa));
  ASSIGN_OR_RETURN(
      const Isa chosen,
      ChooseIsa(flags.isa.empty() ? std::nullopt : std::optional<std::string_view>(flags.isa)));
  DescribeIsa(chosen, !flags.isa.empty(), out);
  DescribeMemory(out);
  ASSIGN_OR_RETURN(const LoadedModel loaded, LoadModel(flags));
  DescribeThreads(loaded, out);
  out["model"] = loaded.id;
  out["model_architecture"] = loaded.info.architecture;
  out["weight_bytes"] = loaded.info.weight_bytes;
  int64_t adapter_bytes = 0;  // what fits, below, is what they leave
  for (const AdapterInfo& adapter : loaded.info.adapters) {
    adapter_bytes += adapter.bytes;
    out["adapters"].push_back(
        {{"name", adapter.name}, {"rank", adapter.rank}, {"bytes", adapter.bytes}});
  }
  if (adapter_bytes > 0) out["adapter_bytes"] = adapter_bytes;
  out["weights"] = loaded.storage == WeightStorage::kPacked
                       ? "packed for the kernels, in memory of their own"
                       : "in the file's pages, packed at every use: slow, little memory";
  out["in_huge_pages"] = FindField("/proc/self/smaps_rollup", "AnonHugePages");
  ASSIGN_OR_RETURN(const KvPlan plan, PlanKv(flags, loaded));
  out["context"] = plan.context_length;
  out["kv_blocks"] = plan.blocks;
  out["kv_bytes"] = KvStore::BlockBytes(loaded.info.kv_shape, loaded.kv_type) * plan.blocks;
  out["kv_tokens_per_gibibyte"] =
      (int64_t{1} << 30) / KvStore::BlockBytes(loaded.info.kv_shape, loaded.kv_type) * kBlockTokens;
  DescribeFits(flags, loaded, plan.context_length, out);
  RETURN_IF_ERROR(SelfTest(flags, out));
  if (json) {
    std::puts(out.dump(2).c_str());
  } else {
    Print(out);
  }
  if (!out["same_tokens_as_portable_kernels"].get<bool>()) {
    return Error{
        "the kernels for this CPU do not agree with the portable ones: run with --isa scalar, and "
        "please report it",
        ErrorKind::kInternal};
  }
  return {};
}

}  // namespace

void AddDoctorVerb(CommandLine& line) {
  auto flags = std::make_shared<ModelFlags>();
  auto json = std::make_shared<bool>(false);
  Verb verb =
      line.AddVerb("doctor", "Explain what this machine offers, what fits, and test the kernels");
  AddModelFlags(verb, *flags);
  AddAdapterFlag(verb, *flags);
  verb.Switch("--json", *json, "as JSON");
  verb.OnParsed([flags, json] { return Doctor(*flags, *json); });
}

}  // namespace millrace
