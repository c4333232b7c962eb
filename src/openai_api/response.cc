#include "openai_api/response.h"

#include <fmt/format.h>

#include "openai_api/json_fields.h"
#include "openai_api/reduction_json.h"
#include "openai_api/response_json.h"

namespace millrace {
namespace {

using openai_internal::CallForm;
using openai_internal::Dump;
using openai_internal::Json;

Json Bytes(const std::string& text) {
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return bytes;
}

// -inf has no JSON form; OpenAI writes -9999 for it.
double Finite(float logprob) { return logprob > -9999.0f ? static_cast<double>(logprob) : -9999.0; }

Json ChatLogprobs(const std::vector<TokenReport>& reports) {
  return {{"content", openai_internal::TokenLogprobs(reports)}, {"refusal", nullptr}};
}

Json CompletionLogprobs(const std::vector<TokenReport>& reports) {
  Json tokens = Json::array(), values = Json::array(), tops = Json::array(), at = Json::array();
  for (const TokenReport& report : reports) {
    tokens.push_back(report.chosen.bytes);
    values.push_back(report.scored ? Json(Finite(report.chosen.logprob)) : Json(nullptr));
    Json top = report.scored ? Json::object() : Json(nullptr);
    for (const TokenText& token : report.top) top[token.bytes] = Finite(token.logprob);
    tops.push_back(std::move(top));
    at.push_back(report.text_offset);
  }
  return {
      {"tokens", tokens}, {"token_logprobs", values}, {"top_logprobs", tops}, {"text_offset", at}};
}

Json LogprobsOf(const ResponseHead& head, const ChoiceText& choice) {
  if (!head.logprobs) return nullptr;
  return head.endpoint == Endpoint::kChat ? ChatLogprobs(choice.logprobs)
                                          : CompletionLogprobs(choice.logprobs);
}

Json ReasonOf(const ChoiceText& choice) {
  return choice.finish_reason.empty() ? Json(nullptr) : Json(choice.finish_reason);
}

Json UsageJson(const ResponseHead& head, const Usage& usage) {
  Json json;
  json["prompt_tokens"] = usage.prompt_tokens;
  json["completion_tokens"] = usage.completion_tokens;
  json["total_tokens"] = usage.prompt_tokens + usage.completion_tokens;
  json["prompt_tokens_details"] = {{"cached_tokens", usage.cached_tokens}};
  if (head.endpoint == Endpoint::kChat) {
    json["completion_tokens_details"] = {{"reasoning_tokens", usage.reasoning_tokens}};
  }
  json["millrace"] = openai_internal::LedgerJson(head, usage);
  return json;
}

Json MessageJson(const ResponseHead& head, const ChoiceText& choice) {
  Json message = {{"role", "assistant"}, {"content", choice.text}, {"refusal", nullptr}};
  if (!choice.reasoning.empty()) message["reasoning_content"] = choice.reasoning;
  if (!choice.calls.empty()) {
    if (choice.text.empty()) message["content"] = nullptr;
    message["tool_calls"] = Json::array();
    for (const ToolCallText& call : choice.calls) {
      message["tool_calls"].push_back(openai_internal::ToolCallJson(call, CallForm::kWhole));
    }
  }
  if (head.reduction) {
    message["annotations"] = openai_internal::AnnotationsJson(*head.reduction, choice.citations);
  }
  return message;
}

Json DeltaJson(const ResponseHead& head, const ChoiceText& delta) {
  Json json = Json::object();
  if (!delta.reasoning.empty()) json["reasoning_content"] = delta.reasoning;
  const bool has_other = !delta.reasoning.empty() || !delta.calls.empty();
  if (!delta.text.empty() || (!delta.logprobs.empty() && !has_other)) json["content"] = delta.text;
  if (!delta.calls.empty()) {
    json["tool_calls"] = Json::array();
    for (const ToolCallText& call : delta.calls) {
      json["tool_calls"].push_back(openai_internal::ToolCallJson(call, CallForm::kPiece));
    }
  }
  if (head.reduction && !delta.citations.empty()) {
    json["annotations"] = openai_internal::AnnotationsJson(*head.reduction, delta.citations);
  }
  return json;
}

Json HeadJson(const ResponseHead& head, const char* object) {
  return {{"id", head.id},
          {"object", object},
          {"created", head.created},
          {"model", head.model},
          {"system_fingerprint", head.fingerprint},
          {"choices", Json::array()}};
}

Json ChunkJson(const ResponseHead& head) {
  const bool chat = head.endpoint == Endpoint::kChat;
  return HeadJson(head, chat ? "chat.completion.chunk" : "text_completion");
}

std::string DumpChunk(const ResponseHead& head, Json chunk) {
  if (head.include_usage) chunk["usage"] = nullptr;
  return Dump(chunk);
}

Json ModelObject(const ModelEntry& model) {
  Json object = {{"id", model.id},
                 {"object", "model"},
                 {"created", model.created},
                 {"owned_by", "millrace"},
                 {"max_model_len", model.context_length}};
  if (!model.parent.empty()) object["parent"] = model.parent;
  return object;
}

}  // namespace

openai_internal::Json openai_internal::TokenLogprobs(const std::vector<TokenReport>& reports) {
  const auto entry = [](const TokenText& token) {
    return Json{
        {"token", token.bytes}, {"logprob", Finite(token.logprob)}, {"bytes", Bytes(token.bytes)}};
  };
  Json content = Json::array();
  for (const TokenReport& report : reports) {
    Json item = entry(report.chosen);
    item["top_logprobs"] = Json::array();
    for (const TokenText& token : report.top) item["top_logprobs"].push_back(entry(token));
    content.push_back(std::move(item));
  }
  return content;
}

openai_internal::Json openai_internal::ToolCallJson(const ToolCallText& call, CallForm form) {
  Json json = Json::object();
  if (form == CallForm::kPiece) json["index"] = call.index;
  if (!call.id.empty()) {
    json["id"] = call.id;
    json["type"] = "function";
    json["function"]["name"] = call.name;
  }
  json["function"]["arguments"] = call.arguments;
  return json;
}

openai_internal::Json openai_internal::LedgerJson(const ResponseHead& head, const Usage& usage) {
  Json ledger;
  for (const auto& [name, value] : LedgerOf(usage)) {
    std::visit([&, key = std::string(name)](auto number) { ledger[key] = number; }, value);
  }
  if (head.reduction) ledger["reduction"] = ReductionJson(*head.reduction);
  return ledger;
}

std::vector<LedgerEntry> LedgerOf(const Usage& u) {
  return {{"queued_ms", u.queued_ms},
          {"prefill_ms", u.prefill_ms},
          {"decode_ms", u.decode_ms},
          {"computed_tokens", u.computed_tokens},
          {"cached_tokens", u.cached_tokens},
          {"cached_saved_ms", u.cached_saved_ms},
          {"preemptions", u.preemptions},
          {"recomputed_tokens", u.recomputed_tokens},
          {"recomputed_cost_ms", u.recomputed_cost_ms},
          {"drafted_tokens", u.drafted_tokens},
          {"accepted_tokens", u.accepted_tokens},
          {"speculation_saved_ms", u.speculation_saved_ms},
          {"dropped_passages", u.dropped_passages},
          {"dropped_passage_tokens", u.dropped_passage_tokens},
          {"reduction_ms", u.reduction_ms},
          {"reduction_saved_ms", u.reduction_saved_ms}};
}

std::string WholeResponse(const ResponseHead& head, std::span<const ChoiceText> choices,
                          const Usage& usage) {
  const bool chat = head.endpoint == Endpoint::kChat;
  Json json = HeadJson(head, chat ? "chat.completion" : "text_completion");
  for (const ChoiceText& choice : choices) {
    Json item;
    item["index"] = choice.index;
    if (chat) {
      item["message"] = MessageJson(head, choice);
    } else {
      item["text"] = choice.text;
    }
    item["logprobs"] = LogprobsOf(head, choice);
    item["finish_reason"] = ReasonOf(choice);
    json["choices"].push_back(std::move(item));
  }
  json["usage"] = UsageJson(head, usage);
  return Dump(json);
}

std::string RoleChunk(const ResponseHead& head, int index) {
  Json chunk = ChunkJson(head);
  chunk["choices"].push_back({{"index", index},
                              {"delta", {{"role", "assistant"}, {"content", ""}}},
                              {"logprobs", nullptr},
                              {"finish_reason", nullptr}});
  return DumpChunk(head, std::move(chunk));
}

std::string TextChunk(const ResponseHead& head, const ChoiceText& delta) {
  Json chunk = ChunkJson(head);
  Json item;
  item["index"] = delta.index;
  if (head.endpoint == Endpoint::kChat) {
    item["delta"] = DeltaJson(head, delta);
  } else {
    item["text"] = delta.text;
  }
  item["logprobs"] = delta.logprobs.empty() ? Json(nullptr) : LogprobsOf(head, delta);
  item["finish_reason"] = ReasonOf(delta);
  chunk["choices"].push_back(std::move(item));
  return DumpChunk(head, std::move(chunk));
}

std::string DraftChunk(const ResponseHead& head, const DraftStep& step) {
  Json chunk = ChunkJson(head);
  chunk["millrace"]["draft"] = {{"index", step.index},
                                {"drafter", step.drafter},
                                {"proposed", step.proposed},
                                {"accepted", step.accepted},
                                {"next", step.next.empty() ? Json(nullptr) : Json(step.next)},
                                {"drafting_ms", step.drafting_ms},
                                {"verifying_ms", step.verifying_ms}};
  return DumpChunk(head, std::move(chunk));
}

std::string UsageChunk(const ResponseHead& head, const Usage& usage) {
  Json chunk = ChunkJson(head);
  chunk["usage"] = UsageJson(head, usage);
  return Dump(chunk);
}

std::string SavingsHeader(const Usage& usage) {
  std::string text;
  for (const auto& [name, value] : LedgerOf(usage)) {
    if (!text.empty()) text += "; ";
    if (const double* time = std::get_if<double>(&value)) {
      text += fmt::format("{}={:.3f}", name, *time);
    } else {
      text += fmt::format("{}={}", name, std::get<int64_t>(value));
    }
  }
  return text;
}

std::string ModelJson(const ModelEntry& model) { return Dump(ModelObject(model)); }

std::string ModelListJson(std::span<const ModelEntry> models) {
  Json list = {{"object", "list"}, {"data", Json::array()}};
  for (const ModelEntry& model : models) list["data"].push_back(ModelObject(model));
  return Dump(list);
}

std::string TokensJson(std::span<const TokenId> tokens) {
  Json list = Json::array();
  for (const TokenId token : tokens) list.push_back(token.value);
  Json json;
  json["tokens"] = std::move(list);
  json["count"] = tokens.size();
  return Dump(json);
}

std::string ContentJson(std::string_view content) {
  Json json;
  json["content"] = std::string(content);
  return Dump(json);
}

std::string FlatJson(std::span<const std::pair<std::string, std::string>> entries) {
  Json json = Json::object();
  for (const auto& [name, value] : entries) json[name] = value;
  return Dump(json);
}

}  // namespace millrace
