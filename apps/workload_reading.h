// Workloads for the verbs that take one, and their lengths in a model's tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "lab/workload.h"
#include "lab/workload_summary.h"
#include "model_loading.h"

namespace millrace {

inline constexpr size_t kDemoRequests = 480;

struct WorkloadFlags {
  std::string source = "demo";  // a file, "demo", or generate:KIND
  std::string format;           // empty: recognised
  bool skip_bad_lines = false;
  uint64_t requests = 0;  // only the first so many; of generated ones, how many; 0: all
  uint64_t seed = 1;
};
void AddWorkloadFlags(Verb& verb, WorkloadFlags& flags);
Result<Workload> ReadWorkload(const WorkloadFlags& flags);

// An error where requests name a store that a server with these flags does not have.
Status CheckStores(const Workload& workload, std::string_view serve_flags);

// Tokenizer and chat template of the model that `flags` name, without its weights.
struct WorkloadModel {
  WorkloadTokenizer tokenizer;
  std::vector<int32_t> plain_tokens;  // ids that are ordinary text
};
Result<WorkloadModel> LoadWorkloadModel(const ModelFlags& flags);

}  // namespace millrace
