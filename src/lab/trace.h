// Traces of real services, to be replayed: when requests came, how long they and their answers
// were, and which beginnings they shared. No texts.
//
// Every line is checked; the error names the line and what should stand there. Pure.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace {

// Mooncake's hash ids stand for so many input tokens each (the last of a request: for what is
// left).
inline constexpr int32_t kTraceBlockTokens = 512;

struct TraceRequest {
  double arrival_seconds = 0;  // since the first request
  int32_t input_tokens = 0;    // at least 1
  int32_t output_tokens = 0;
  // Equal ids in the same places: an equal beginning. Empty where the trace does not say.
  std::vector<int64_t> prefix_blocks;
};

// "TIMESTAMP,ContextTokens,GeneratedTokens" and a line per request: the Azure LLM inference traces
// of 2023 (Patel et al. 2024, "Splitwise"). Times must not go backwards.
Result<std::vector<TraceRequest>> ParseAzureTrace(std::string_view csv);

// An object per line: timestamp (milliseconds), input_length, output_length, hash_ids (Qin et al.
// 2025, "Mooncake"). There must be as many hash ids as the input has blocks.
Result<std::vector<TraceRequest>> ParseMooncakeTrace(std::string_view jsonl);

}  // namespace millrace
