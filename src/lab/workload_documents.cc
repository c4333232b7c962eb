// ShareGPT (conversations) and SQuAD (questions on paragraphs): one JSON document each.
#include <nlohmann/json.hpp>

#include "lab/workload_readers.h"

namespace millrace::lab_internal {
namespace {

using Json = nlohmann::json;

constexpr size_t kPassages = 5;  // of a SQuAD question: its paragraph and its neighbours

bool IsText(const Json& object, const char* name) {
  return object.is_object() && object.contains(name) && object[name].is_string();
}

// Each turn of a person is a request that carries the recorded conversation before it.
Status TakeConversation(const Json& entry, int64_t number, Workload& workload) {
  if (!entry.is_object() || !entry.contains("conversations") || !entry["conversations"].is_array())
    return Error{"it has no list \"conversations\""};
  Json messages = Json::array();
  std::vector<WorkloadRequest> turns;
  for (const Json& said : entry["conversations"]) {
    if (!IsText(said, "from") || !IsText(said, "value"))
      return Error{"each part of a conversation needs the texts \"from\" and \"value\""};
    const std::string from = said["from"], text = said["value"];
    if (from == "human" || from == "user") {
      messages.push_back({{"role", "user"}, {"content", text}});
      WorkloadRequest request;
      request.session =
          IsText(entry, "id") ? entry["id"].get<std::string>() : fmt::format("entry {}", number);
      request.messages = messages.dump();
      turns.push_back(std::move(request));
    } else if (from == "gpt" || from == "assistant" || from == "chatgpt") {
      if (!turns.empty()) turns.back().answer = text;
      messages.push_back({{"role", "assistant"}, {"content", text}});
    } else if (from == "system") {
      messages.push_back({{"role", "system"}, {"content", text}});
    } else {
      return Error{"\"from\" must be human, gpt or system, not \"" + from + "\""};
    }
  }
  if (turns.empty()) return Error{"nobody asks anything in it"};
  for (WorkloadRequest& turn : turns) workload.requests.push_back(std::move(turn));
  return {};
}

Status TakeQuestion(const Json& question, const std::vector<std::string>& paragraphs, size_t own,
                    const std::string& title, Workload& workload) {
  if (!IsText(question, "question")) return Error{"a question has no text \"question\""};
  WorkloadRequest request;
  request.group = title;
  const size_t first = std::min(own - std::min(own, kPassages / 2),
                                paragraphs.size() - std::min(paragraphs.size(), kPassages));
  for (size_t i = first; i < std::min(paragraphs.size(), first + kPassages); ++i)
    request.documents.push_back(paragraphs[i]);
  request.messages = Json::array({{{"role", "user"}, {"content", question["question"]}}}).dump();
  Json answers = Json::array();
  if (question.contains("answers") && question["answers"].is_array()) {
    for (const Json& answer : question["answers"]) {
      if (IsText(answer, "text")) answers.push_back(answer["text"]);
    }
  }
  if (!answers.empty()) request.expected = Json{{"contains", answers}}.dump();
  workload.requests.push_back(std::move(request));
  return {};
}

Status TakeArticle(const Json& article, Workload& workload) {
  if (!article.is_object() || !article.contains("paragraphs") || !article["paragraphs"].is_array())
    return Error{"it has no list \"paragraphs\""};
  std::vector<std::string> paragraphs;
  for (const Json& p : article["paragraphs"]) {
    if (!IsText(p, "context") || !p.contains("qas") || !p["qas"].is_array())
      return Error{"each paragraph needs a text \"context\" and a list \"qas\""};
    paragraphs.push_back(p["context"]);
  }
  const std::string title = IsText(article, "title") ? article["title"].get<std::string>() : "";
  for (size_t i = 0; i < paragraphs.size(); ++i) {
    for (const Json& question : article["paragraphs"][i]["qas"])
      RETURN_IF_ERROR(TakeQuestion(question, paragraphs, i, title, workload));
  }
  return {};
}

}  // namespace

Status ReadShareGpt(std::string_view text, bool skip, Workload& workload) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_array()) return Error{"a ShareGPT file is one JSON list of conversations"};
  int64_t number = 0;
  for (const Json& entry : json) {
    ++number;
    RETURN_IF_ERROR(
        TakeLine(TakeConversation(entry, number, workload), "entry", number, skip, workload));
  }
  return {};
}

Status ReadSquad(std::string_view text, bool skip, Workload& workload) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("data") || !json["data"].is_array())
    return Error{"a SQuAD file is one JSON object with a list \"data\" of articles"};
  int64_t number = 0;
  for (const Json& article : json["data"]) {
    ++number;
    const size_t before = workload.requests.size();
    const Status status = TakeArticle(article, workload);
    if (!status.ok()) workload.requests.resize(before);
    RETURN_IF_ERROR(TakeLine(status, "article", number, skip, workload));
  }
  return {};
}

}  // namespace millrace::lab_internal
