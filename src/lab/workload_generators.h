// Workloads made here: the classic cases, arrivals for a file without times, and the demo workload.
//
// Deterministic: the same arguments give the same requests on every machine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "lab/workload.h"

namespace millrace {

struct GeneratorOptions {
  size_t requests = 200;
  uint64_t seed = 1;
  int32_t scale = 1;  // multiplies the words of long parts: for models with longer contexts
};

// chat: one long system message before short questions of many people. retrieval: questions over
// passages drawn from a collection, in varying choice and order. mixed: long and short prompts and
// answers. turns: conversations that grow. unique: nothing shared, words that do not repeat,
// answers drawn at a high temperature, which nobody foresees. same: one prompt, again and again.
const std::vector<std::string>& GeneratorKinds();
Result<Workload> GenerateWorkload(std::string_view kind, const GeneratorOptions& options);

// Questions with known answers from a task of the demo corpus (lab/task.h): each group of passages
// is asked about several times, as statements of the form "The T of E is V." allow, so that prompts
// share beginnings as they do in retrieval. Each is a `group`.
Result<Workload> DemoWorkload(std::string_view task_jsonl, size_t requests, uint64_t seed);

// How requests come, instead of as recorded.
enum class ArrivalPattern { kPoisson, kBursty };
// Gives every request an arrival: Poisson, or gaps of a gamma distribution with shape 0.25 (their
// standard deviation is twice the mean), `per_second` on average. Order stays. per_second > 0.
void SetArrivals(Workload& workload, ArrivalPattern pattern, double per_second, uint64_t seed);

}  // namespace millrace
