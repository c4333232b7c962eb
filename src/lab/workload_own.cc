// The own JSONL, logs of OpenAI requests, Mooncake's lines.
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "lab/workload_readers.h"

namespace millrace::lab_internal {
namespace {

using OrderedJson = nlohmann::ordered_json;

// The member, or null.
const OrderedJson& Member(const OrderedJson& object, const char* name) {
  static const OrderedJson kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(name);
  return found == object.end() ? kNull : *found;
}

Result<int32_t> TokensOf(const OrderedJson& line, const char* name, int64_t least) {
  const OrderedJson& value = Member(line, name);
  if (value.is_null()) return 0;
  if (!value.is_number_integer() || value.get<int64_t>() < least ||
      value.get<int64_t>() > kMostRequestTokens) {
    return Error{fmt::format("\"{}\" must be a whole number of at least {}", name, least)};
  }
  return static_cast<int32_t>(value.get<int64_t>());
}

Result<double> MillisecondsOf(const OrderedJson& line, const char* name) {
  const OrderedJson& value = Member(line, name);
  if (value.is_null()) return 0.0;
  if (!value.is_number() || value.get<double>() < 0)
    return Error{fmt::format("\"{}\" must be a number of milliseconds", name)};
  return value.get<double>() / 1000;
}

Status CheckMessages(const OrderedJson& messages) {
  if (!messages.is_array() || messages.empty()) return Error{"\"messages\" must be a list"};
  for (const OrderedJson& m : messages) {
    const OrderedJson& content = Member(m, "content");
    const bool good = Member(m, "role").is_string() &&
                      (content.is_string() || content.is_array() || m.contains("tool_calls"));
    if (!good) return Error{"every message needs a \"role\" and a \"content\""};
  }
  return {};
}

Status TakePrompt(const OrderedJson& body, WorkloadRequest& request) {
  if (const OrderedJson& messages = Member(body, "messages"); !messages.is_null()) {
    RETURN_IF_ERROR(CheckMessages(messages));
    request.messages = messages.dump();
    return {};
  }
  const OrderedJson& prompt = Member(body, "prompt");
  if (!prompt.is_null() && !prompt.is_string()) return Error{"\"prompt\" must be a text"};
  if (prompt.is_string()) request.prompt = prompt.get<std::string>();
  if (request.prompt.empty() && request.input_tokens == 0)
    return Error{"it needs \"messages\", \"prompt\" or \"input_length\" (at least 1)"};
  return {};
}

Status TakeHashes(const OrderedJson& line, WorkloadRequest& request) {
  const OrderedJson& hashes = Member(line, "hash_ids");
  if (hashes.is_null()) return {};
  ASSIGN_OR_RETURN(const int32_t block, TokensOf(line, "hash_block", 1));
  if (block > 0) request.block_tokens = block;
  if (!hashes.is_array()) return Error{"\"hash_ids\" must be a list of whole numbers"};
  for (const OrderedJson& hash : hashes) {
    if (!hash.is_number_integer()) return Error{"\"hash_ids\" must be a list of whole numbers"};
    request.prefix_blocks.push_back(hash.get<int64_t>());
  }
  const int64_t blocks =
      (int64_t{request.input_tokens} + request.block_tokens - 1) / request.block_tokens;
  if (static_cast<int64_t>(request.prefix_blocks.size()) != blocks) {
    return Error{fmt::format("{} input tokens are {} blocks of {}, but it has {} hash_ids",
                             request.input_tokens, blocks, request.block_tokens,
                             request.prefix_blocks.size())};
  }
  return {};
}

Status TakeDocuments(const OrderedJson& line, WorkloadRequest& request) {
  const OrderedJson& documents = Member(line, "documents");
  if (documents.is_null()) return {};
  const Error wrong{"\"documents\" must be a list of texts or of {\"text\": ...}"};
  if (!documents.is_array()) return wrong;
  bool titled = false;
  for (const OrderedJson& d : documents) {
    const OrderedJson &text = d.is_object() ? Member(d, "text") : d, &title = Member(d, "title");
    if (!text.is_string()) return wrong;
    request.documents.push_back(text.get<std::string>());
    request.titles.push_back(title.is_string() ? title.get<std::string>() : "");
    titled = titled || !request.titles.back().empty();
  }
  if (!titled) request.titles.clear();
  return {};
}

// Of a body: what shapes the answer and is neither a text nor what replays and switches decide
// (tokens, seeds, streams, speculation, reduction) nor an id of one model's vocabulary.
constexpr const char* kOptionsOfLogs[] = {"tools",
                                          "tool_choice",
                                          "parallel_tool_calls",
                                          "response_format",
                                          "grammar",
                                          "guided_choice",
                                          "guided_grammar",
                                          "guided_json",
                                          "guided_regex",
                                          "stop",
                                          "structured_outputs",
                                          "suffix",
                                          "top_p",
                                          "top_k",
                                          "min_p",
                                          "frequency_penalty",
                                          "cache_salt",
                                          "ignore_eos",
                                          "presence_penalty",
                                          "repetition_penalty",
                                          "reasoning_format",
                                          "reasoning_effort",
                                          "chat_template_kwargs"};

Status TakeOptions(const OrderedJson& line, const OrderedJson& body, WorkloadRequest& request) {
  OrderedJson options = Member(line, "options");
  if (!options.is_null() && !options.is_object()) {
    return Error{"\"options\" must be an object of a request's further fields"};
  }
  if (&body != &line) {
    for (const char* name : kOptionsOfLogs) {
      if (const OrderedJson& value = Member(body, name); !value.is_null()) options[name] = value;
    }
  }
  if (!options.empty()) request.options = options.dump();
  const OrderedJson& store =
      &body == &line ? Member(line, "store") : Member(Member(body, "millrace"), "store");
  if (!store.is_null() && !store.is_string()) return Error{"\"store\" must be a name"};
  if (store.is_string()) request.store = store.get<std::string>();
  return {};
}

// What a log holds of the answer: {"response": {"usage", "choices"}} or {"response": {"body":
// ...}}.
void TakeResponse(const OrderedJson& line, WorkloadRequest& request) {
  const OrderedJson* response = &Member(line, "response");
  if (Member(*response, "body").is_object()) response = &Member(*response, "body");
  const OrderedJson& tokens = Member(Member(*response, "usage"), "completion_tokens");
  if (tokens.is_number_integer() && request.output_tokens == 0) {
    request.output_tokens =
        static_cast<int32_t>(std::clamp<int64_t>(tokens.get<int64_t>(), 0, kMostRequestTokens));
  }
  const OrderedJson& choices = Member(*response, "choices");
  if (!choices.is_array() || choices.empty()) return;
  const OrderedJson& content = Member(Member(choices[0], "message"), "content");
  if (content.is_string()) request.answer = content.get<std::string>();
}

std::string SessionOf(const OrderedJson& line, const OrderedJson& body) {
  for (const auto& [object, name] : {std::pair(&line, "session_id"), std::pair(&body, "session_id"),
                                     std::pair(&body, "prompt_cache_key")}) {
    const OrderedJson& value = Member(*object, name);
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number_integer()) return value.dump();
  }
  return {};
}

// Seconds: "timestamp" in milliseconds, or a log's "created" in seconds.
Result<std::optional<double>> TimeOf(const OrderedJson& line) {
  if (!Member(line, "timestamp").is_null()) {
    ASSIGN_OR_RETURN(const double seconds, MillisecondsOf(line, "timestamp"));
    return std::optional(seconds);
  }
  const OrderedJson& created = Member(line, "created");
  if (created.is_number()) return std::optional(created.get<double>());
  return std::optional<double>();
}

Status ReadLine(std::string_view text, Workload& workload) {
  const OrderedJson line = OrderedJson::parse(text, nullptr, false);
  if (!line.is_object()) return Error{"it is no JSON object"};
  // A log wraps the request's body.
  const OrderedJson* body = &line;
  for (const char* name : {"body", "request"}) {
    if (Member(line, name).is_object()) body = &Member(line, name);
  }
  WorkloadRequest request;
  ASSIGN_OR_RETURN(request.input_tokens, TokensOf(line, "input_length", 1));
  ASSIGN_OR_RETURN(request.output_tokens, TokensOf(line, "output_length", 0));
  ASSIGN_OR_RETURN(request.delay_seconds, MillisecondsOf(line, "delay"));
  RETURN_IF_ERROR(TakePrompt(*body, request));
  RETURN_IF_ERROR(TakeHashes(line, request));
  RETURN_IF_ERROR(TakeDocuments(body->contains("documents") ? *body : line, request));
  if (const OrderedJson& t = Member(*body, "temperature"); !t.is_null()) {
    if (!t.is_number() || t.get<double>() < 0 || t.get<double>() > 2)
      return Error{"\"temperature\" must be a number from 0 to 2"};
    request.temperature = t.get<double>();
  }
  RETURN_IF_ERROR(TakeOptions(line, *body, request));
  TakeResponse(line, request);
  if (Member(line, "answer").is_string()) request.answer = line["answer"].get<std::string>();
  if (const OrderedJson& expected = Member(line, "expected"); !expected.is_null()) {
    request.expected = expected.dump();
    const auto parsed = ParseExpected(request.expected);
    if (!parsed.ok()) return parsed.error();
  }
  request.session = SessionOf(line, *body);
  const OrderedJson& group = Member(line, "group");
  if (!group.is_null()) request.group = group.is_string() ? group.get<std::string>() : group.dump();
  ASSIGN_OR_RETURN(const std::optional<double> time, TimeOf(line));
  if (time) request.arrival_seconds = *time;
  workload.timed = workload.timed || time.has_value();
  workload.requests.push_back(std::move(request));
  return {};
}

}  // namespace

Status ReadOwnWorkload(std::string_view text, bool skip, Workload& workload) {
  return ForEachWorkloadLine(text, skip, workload, [&](std::string_view line, int64_t) -> Status {
    return ReadLine(line, workload);
  });
}

}  // namespace millrace::lab_internal
