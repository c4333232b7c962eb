// millrace doctor: what this machine offers, and whether the build works on it.
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/cgroup.h"
#include "command_line.h"
#include "generation.h"
#include "model_loading.h"
#include "reporting.h"
#include "simd/isa.h"
#include "verbs.h"

namespace millrace {
namespace {

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
    return "never: weights lie in small pages, so reading them waits for address translation; "
           "madvise or always would help";
  }
  if (setting.empty()) return "unknown to this system";
  return setting + ": granted to weights where memory is not fragmented";
}

void DescribeThreads(const LoadedModel& loaded, nlohmann::ordered_json& out) {
  const Topology& topology = loaded.topology;
  out["physical_cores"] = topology.cores.size();
  out["hardware_threads"] = topology.cpus;
  out["memory_nodes"] = topology.nodes;
  out["all_of_the_machine"] = topology.whole_machine;
  out["processor_quota"] =
      topology.quota ? nlohmann::ordered_json(*topology.quota) : nlohmann::ordered_json("none");
  out["threads"] = loaded.threads.threads.size();
  out["pinned"] = std::string(loaded.threads.pinned ? "yes" : "no") + ": " + loaded.threads.reason;
}

// The chosen instruction set must give what the portable kernels give, on the model the user has.
Status SelfTest(const ModelFlags& flags, nlohmann::ordered_json& out) {
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
  nlohmann::ordered_json out;
  out["cpu"] = FindField("/proc/cpuinfo", "model name");
  for (const Isa isa : SupportedIsas()) out["instruction_sets"].push_back(NameOf(isa));
  ASSIGN_OR_RETURN(
      const Isa chosen,
      ChooseIsa(flags.isa.empty() ? std::nullopt : std::optional<std::string_view>(flags.isa)));
  out["chosen_instruction_set"] = NameOf(chosen);
  out["memory_total"] = FindField("/proc/meminfo", "MemTotal");
  out["memory_available"] = Mebibytes(AvailableMemory());
  out["transparent_huge_pages"] = HugePages();
  ASSIGN_OR_RETURN(const LoadedModel loaded, LoadModel(flags));
  DescribeThreads(loaded, out);
  out["model"] = loaded.id;
  out["model_architecture"] = loaded.info.architecture;
  out["weight_bytes"] = loaded.info.weight_bytes;
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
  RETURN_IF_ERROR(SelfTest(flags, out));
  if (json) {
    std::puts(out.dump(2).c_str());
  } else {
    for (const auto& [key, value] : out.items()) {
      std::printf("%-34s %s\n", key.c_str(),
                  value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
    }
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
  verb.Switch("--json", *json, "as JSON");
  verb.OnParsed([flags, json] { return Doctor(*flags, *json); });
}

}  // namespace millrace
