// Workloads: the requests of a user's traffic, to be replayed against a server.
//
// Millrace's own form is JSONL, a request a line:
//   {"timestamp": 1500, "messages": [...], "output_length": 40, "session_id": "a", "delay": 2000,
//    "documents": ["...", {"title": "...", "text": "..."}], "expected": "...", "answer": "..."}
// timestamp: milliseconds; messages (or prompt, or input_length where there are no texts);
// session_id: requests of one conversation, replayed in order; delay: milliseconds between the
// answer to the session's request before and this one; group: requests on one subject, which two
// halves of the workload never share; hash_ids: equal ids in the same places mean
// an equal beginning, each for hash_block tokens (512 where it is not given); documents: passages;
// store: where the server is to search for passages; temperature: 0 where it is not given; options:
// further fields of the request as a chat has them, such as {"tools": [...], "stop": ["."]};
// expected: as in lab/task.h; answer: what was answered when it was recorded. All but the prompt
// are optional. In a log of requests ({"body": {...}}) the fields of the body that shape its answer
// are its options: tools, formats, stop strings, sampling (kOptionsOfLogs in workload_own.cc).
//
// Invariant: requests are in order of arrival, times count from the first, and every request has
// messages, a prompt, or input_tokens > 0. Pure: no files, no clock.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "lab/task.h"

namespace millrace {

struct WorkloadRequest {
  double arrival_seconds = 0;  // since the first request
  std::string session;         // empty: one of its own
  double delay_seconds = 0;    // after the answer before it in its session
  std::string group;           // requests on one subject: one cluster, never split; empty: session
  std::string messages;        // a JSON array of chat messages; empty: `prompt`
  std::string prompt;
  std::vector<std::string> documents;
  std::vector<std::string> titles;  // of the documents; empty, or one each
  std::string store;                // that the server searches; empty: none
  int32_t input_tokens = 0;         // 0: not known; only a tokenizer can tell
  int32_t output_tokens = 0;        // 0: not known
  std::vector<int64_t> prefix_blocks;
  int32_t block_tokens = 512;  // each of prefix_blocks stands for so many
  double temperature = 0;      // sampled, with a fixed seed; 0: greedy
  std::string options;         // a JSON object of further fields of the request; empty: none
  std::string expected;        // JSON, checked (ParseExpectation); empty: none
  std::string answer;          // recorded; empty: none

  bool has_passages() const { return !documents.empty() || !store.empty(); }
  bool has_text() const { return !messages.empty() || !prompt.empty(); }
};

struct Workload {
  std::string format;  // the name of what was read: "millrace", "squad", ...
  bool timed = false;  // the file said when requests came
  std::vector<WorkloadRequest> requests;
  std::vector<std::string> skipped;  // why, of each line that was left out
};

struct WorkloadOptions {
  std::string format;  // empty: recognised by the content; else one of WorkloadFormats()
  bool skip_bad_lines = false;
};

// millrace (which reads Mooncake's lines and OpenAI requests, too), openai, sharegpt, squad,
// mooncake, burstgpt, azure.
const std::vector<std::string>& WorkloadFormats();

// A bad line is an error that names its number, or is skipped where the options say so. A file
// without any request is an error.
Result<Workload> ParseWorkload(std::string_view text, const WorkloadOptions& options = {});

// One request as a line of the form above, without the line break.
std::string ToWorkloadLine(const WorkloadRequest& request);

}  // namespace millrace
