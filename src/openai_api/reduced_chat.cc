#include "openai_api/reduced_chat.h"

#include <utility>

#include "openai_api/json_fields.h"
#include "openai_api/reduction_json.h"

namespace millrace {
namespace {

using openai_internal::Json;

std::string NumberedLines(std::span<const JudgedPassage> passages) {
  std::string text;
  for (size_t i = 0; i < passages.size(); ++i) {
    if (i > 0) text += '\n';
    text += NumberedLine(i + 1, passages[i].passage.title, passages[i].passage.text);
  }
  return text;
}

void AddToSystemMessage(std::span<const JudgedPassage> passages, Json& messages) {
  const std::string text = NumberedLines(passages);
  if (!messages.empty() && messages[0].value("role", "") == "system") {
    messages[0]["content"] = messages[0].value("content", "") + "\n\n" + text;
  } else {
    messages.insert(messages.begin(), Json{{"role", "system"}, {"content", text}});
  }
}

Json KeptJson(size_t number, const JudgedPassage& kept) {
  const Passage& p = kept.passage;
  return {{"number", number},       {"id", p.id.empty() ? Json(nullptr) : Json(p.id)},
          {"document", p.document}, {"begin", p.begin},
          {"score", kept.score},    {"why", NameOf(kept.fate)},
          {"tokens", kept.tokens}};
}

}  // namespace

Result<std::string> ChatWithPassages(std::string_view chat_json,
                                     std::span<const JudgedPassage> passages, PassagePlace place) {
  ApiResult<Json> parsed = openai_internal::ParseJsonObject(chat_json);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return Error{error->message};
  Json& chat = std::get<Json>(parsed);
  if (passages.empty()) return std::string(chat_json);
  if (place == PassagePlace::kSystemMessage) {
    AddToSystemMessage(passages, chat["messages"]);
  } else {
    for (size_t i = 0; i < passages.size(); ++i) {
      const Passage& p = passages[i].passage;
      chat["documents"].push_back({{"doc_id", i + 1}, {"title", p.title}, {"text", p.text}});
    }
  }
  return openai_internal::Dump(chat);
}

namespace openai_internal {

Json ReductionJson(const ReductionReport& report) {
  const ReducedPrompt& reduced = report.reduced;
  Json json;
  json["mode"] = report.mode;
  json["passages"] = reduced.passages();
  json["kept"] = Json::array();
  for (size_t i = 0; i < reduced.kept.size(); ++i) {
    json["kept"].push_back(KeptJson(i + 1, reduced.kept[i]));
  }
  json["dropped"] = Json::object();
  for (size_t f = 0; f < kPassageFates; ++f) {
    const auto fate = static_cast<PassageFate>(f);
    if (!IsKept(fate) && reduced.fate[f] > 0) json["dropped"][NameOf(fate)] = reduced.fate[f];
  }
  json["tokens_before"] = reduced.tokens_before;
  json["tokens_after"] = reduced.tokens_after;
  if (reduced.pruned_tokens != 0 || report.pruning_ms > 0) {
    json["pruned_tokens"] = reduced.pruned_tokens;
    json["pruning_ms"] = report.pruning_ms;
  }
  json["best_dropped_score"] = reduced.best_dropped;
  json["margin"] = reduced.margin ? Json(*reduced.margin) : Json(nullptr);
  return json;
}

Json AnnotationsJson(const ReductionReport& report, std::span<const Citation> citations) {
  Json annotations = Json::array();
  for (const Citation& c : citations) {
    const Passage& p = report.reduced.kept[c.number - 1].passage;
    annotations.push_back({{"type", "file_citation"},
                           {"file_citation",
                            {{"start_index", c.begin},
                             {"end_index", c.end},
                             {"number", c.number},
                             {"file_id", p.id.empty() ? Json(nullptr) : Json(p.id)},
                             {"filename", p.title},
                             {"index", p.document}}}});
  }
  return annotations;
}

}  // namespace openai_internal
}  // namespace millrace
