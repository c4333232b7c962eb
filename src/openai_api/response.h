// Events -> OpenAI's response objects, as JSON texts. Bytes that are not UTF-8 become U+FFFD; the
// exact bytes of tokens stand beside them in `bytes`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/id.h"
#include "openai_api/citations.h"
#include "openai_api/reduced_chat.h"

namespace millrace {

enum class Endpoint { kChat, kCompletions };

struct ResponseHead {
  Endpoint endpoint = Endpoint::kChat;
  std::string id;       // "chatcmpl-..." or "cmpl-..."
  int64_t created = 0;  // seconds since 1970
  std::string model;
  std::string fingerprint;
  bool logprobs = false;
  bool include_usage = false;  // of a stream: the other chunks carry "usage": null
  std::shared_ptr<const ReductionReport> reduction;  // of a request that carried passages
};

struct TokenText {
  std::string bytes;
  float logprob = 0.0f;
};
struct TokenReport {
  TokenText chosen;
  std::vector<TokenText> top;
  bool scored = true;       // the first token of a prompt is not: it follows nothing
  int64_t text_offset = 0;  // characters of the choice before this token
};

// A call of a function, or what a chunk adds to it: then only the first piece has id and name.
struct ToolCallText {
  int index = 0;
  std::string id, name;
  std::string arguments;  // JSON; of a whole call an object
};

// A whole choice, or what a chunk adds to it: then only one of reasoning, text and calls, and of
// those one, is not empty.
struct ChoiceText {
  int index = 0;
  std::string reasoning;
  std::string text;
  std::vector<ToolCallText> calls;
  std::string finish_reason;  // empty: null
  std::string stop_string;    // that ended it
  std::vector<TokenReport> logprobs;
  std::vector<Citation> citations;  // of the reduction's passages
};

// All choices of a response together; times of the slowest. With the savings ledger: what each
// optimisation saved, or cost, in the time that a prefill token takes as the engine measured it.
struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t reasoning_tokens = 0;  // of them
  int64_t cached_tokens = 0;
  int64_t computed_tokens = 0;
  int64_t preemptions = 0;
  double queued_ms = 0;
  double prefill_ms = 0;
  double decode_ms = 0;
  double cached_saved_ms = 0;  // the time that computing cached_tokens would have taken
  int64_t recomputed_tokens = 0;
  double recomputed_cost_ms = 0;
  int64_t drafted_tokens = 0;   // verified
  int64_t accepted_tokens = 0;  // of them, those in the answer
  // What steps with drafts took less than plain ones, as estimated; less than nothing: more.
  double speculation_saved_ms = 0;
  int64_t dropped_passages = 0;
  int64_t dropped_passage_tokens = 0;
  double reduction_ms = 0;        // what choosing the passages took, before the queue
  double reduction_saved_ms = 0;  // the time that computing dropped_passage_tokens would have taken
};
struct LedgerEntry {
  std::string_view name;
  std::variant<int64_t, double> value;  // a count, or milliseconds
};
// The ledger as it is shown: in usage.millrace, in x-millrace-savings, in the log.
std::vector<LedgerEntry> LedgerOf(const Usage& usage);

std::string WholeResponse(const ResponseHead& head, std::span<const ChoiceText> choices,
                          const Usage& usage);
std::string RoleChunk(const ResponseHead& head, int index);
std::string TextChunk(const ResponseHead& head, const ChoiceText& delta);
// What became of a draft, as a chunk without choices: {"millrace": {"draft": {...}}}.
struct DraftStep {
  int index = 0;  // of the choice
  std::string drafter;
  std::vector<std::string> proposed;  // tokens as text
  int32_t accepted = 0;               // so many from the front
  std::string next;                   // the target's token after them; empty where the answer ended
  double drafting_ms = 0, verifying_ms = 0;
};
std::string DraftChunk(const ResponseHead& head, const DraftStep& step);
// Empty choices and the usage: the last chunk before [DONE], where the client asked for it.
std::string UsageChunk(const ResponseHead& head, const Usage& usage);
// The value of x-millrace-savings: "cached_tokens=0; queued_ms=0.1; ...".
std::string SavingsHeader(const Usage& usage);

struct ModelEntry {
  std::string id;
  int64_t created = 0;
  int32_t context_length = 0;
  std::string parent = {};  // of an adapter: the model that it changes
};
std::string ModelJson(const ModelEntry& model);
std::string ModelListJson(std::span<const ModelEntry> models);
std::string TokensJson(std::span<const TokenId> tokens);
std::string ContentJson(std::string_view content);
// A flat object of strings: {"status": "ok"}.
std::string FlatJson(std::span<const std::pair<std::string, std::string>> entries);

}  // namespace millrace
