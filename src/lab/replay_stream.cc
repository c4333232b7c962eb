#include "lab/replay_stream.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

namespace millrace::lab_internal {
namespace {

using StreamJson = nlohmann::json;

double NumberAt(const StreamJson& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

void TakeKeptPassages(const StreamJson& ledger, ReplayAnswer& answer) {
  const auto reduction = ledger.find("reduction");
  if (reduction == ledger.end() || !reduction->is_object()) return;
  const auto kept = reduction->find("kept");
  if (kept == reduction->end() || !kept->is_array()) return;
  std::vector<size_t>& places = answer.kept_passages.emplace();
  for (const StreamJson& passage : *kept) {
    if (passage.is_object())
      places.push_back(static_cast<size_t>(std::max(0.0, NumberAt(passage, "document"))));
  }
}

void TakeUsage(const StreamJson& usage, ReplayAnswer& answer) {
  answer.prompt_tokens = static_cast<int64_t>(NumberAt(usage, "prompt_tokens"));
  answer.output_tokens = static_cast<int64_t>(NumberAt(usage, "completion_tokens"));
  if (const auto details = usage.find("prompt_tokens_details");
      details != usage.end() && details->is_object()) {
    answer.cached_tokens = static_cast<int64_t>(NumberAt(*details, "cached_tokens"));
  }
  const auto ledger = usage.find("millrace");
  if (ledger == usage.end() || !ledger->is_object()) return;
  answer.queued_ms = NumberAt(*ledger, "queued_ms");
  answer.prefill_ms = NumberAt(*ledger, "prefill_ms");
  answer.cached_saved_ms = NumberAt(*ledger, "cached_saved_ms");
  answer.speculation_saved_ms = NumberAt(*ledger, "speculation_saved_ms");
  answer.decode_ms = NumberAt(*ledger, "decode_ms");
  answer.drafted_tokens = static_cast<int64_t>(NumberAt(*ledger, "drafted_tokens"));
  answer.accepted_tokens = static_cast<int64_t>(NumberAt(*ledger, "accepted_tokens"));
  TakeKeptPassages(*ledger, answer);
}

std::string StringAt(const StreamJson& object, const char* name) {
  if (!object.is_object()) return {};
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// What a choice brings.
struct Brought {
  std::string text;       // a chat's content and its calls' names and arguments, or a completion's
  std::string reasoning;  // is seen by who waits, and is no part of the answer
};

Brought BroughtBy(const StreamJson& choice) {
  const auto delta = choice.find("delta");
  if (delta == choice.end()) return {StringAt(choice, "text"), ""};
  Brought brought = {StringAt(*delta, "content"), StringAt(*delta, "reasoning_content")};
  if (!delta->is_object() || !delta->contains("tool_calls")) return brought;
  for (const StreamJson& call : (*delta)["tool_calls"]) {
    const StreamJson function =
        call.is_object() ? call.value("function", StreamJson()) : StreamJson();
    brought.text += StringAt(function, "name") + StringAt(function, "arguments");
  }
  return brought;
}

// One event's data; when it came.
void TakeData(std::string_view data, double at, ReplayAnswer& answer, bool& finished) {
  const StreamJson chunk = StreamJson::parse(data, nullptr, false);
  if (!chunk.is_object()) {
    answer.failure = "an event that is no JSON object";
    return;
  }
  if (chunk.contains("error")) {
    answer.failure = "an error event in the stream";
    return;
  }
  if (chunk.contains("usage") && chunk["usage"].is_object()) TakeUsage(chunk["usage"], answer);
  if (!chunk.contains("choices") || !chunk["choices"].is_array()) return;
  for (const StreamJson& choice : chunk["choices"]) {
    if (!choice.is_object()) continue;
    const Brought brought = BroughtBy(choice);
    const bool ends = choice.contains("finish_reason") && choice["finish_reason"].is_string();
    finished = finished || ends;
    // Tokens without text (a control token, half a character) show at the latest with the end.
    const bool shows = !brought.text.empty() || !brought.reasoning.empty();
    if (shows || (ends && answer.emissions.empty())) answer.emissions.push_back(at);
    answer.text += brought.text;
  }
}

}  // namespace

void TakeApart(const std::string& body, const std::vector<Arrived>& arrived, ReplayAnswer& answer) {
  bool done = false, finished = false;
  size_t mark = 0;
  for (size_t at = 0; at < body.size() && answer.ok();) {
    const size_t end = body.find("\n\n", at);
    if (end == std::string::npos) break;
    std::string_view event(body.data() + at, end - at);
    at = end + 2;
    while (mark < arrived.size() && arrived[mark].bytes < at) ++mark;
    if (!event.starts_with("data: ")) continue;  // a comment
    event.remove_prefix(6);
    if (event == "[DONE]") {
      done = true;
    } else {
      TakeData(event, mark < arrived.size() ? arrived[mark].at : answer.end, answer, finished);
    }
  }
  if (answer.ok() && (!done || !finished)) answer.failure = "a stream without its end";
}

}  // namespace millrace::lab_internal
