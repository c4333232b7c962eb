#include "documents.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "embedded_model.h"
#include "openai_api/template_chat.h"
#include "reporting.h"

namespace millrace {
namespace {

constexpr size_t kMostFileBytes = size_t{1} << 30;

std::vector<TokenId> Bos(const LoadedModel& loaded) {
  if (!loaded.tokenizer->adds_bos() || !loaded.tokenizer->bos()) return {};
  return {*loaded.tokenizer->bos()};
}

void Append(std::vector<TokenId>& tokens, const std::vector<TokenId>& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
}

// The prompt, then the answer and the end of the turn.
Result<Document> DocumentOf(const TaskItem& item, const LoadedModel& loaded, ScoredPart part) {
  Document d;
  d.cluster = item.cluster;
  ASSIGN_OR_RETURN(d.tokens, EncodeQuestion(item, loaded));
  const auto prompt = static_cast<int32_t>(d.tokens.size());
  const std::string_view answer = AnswerText(item.expected);
  Append(d.tokens, loaded.tokenizer->Encode(answer, SpecialTokens::kAsText));
  if (!answer.empty() && loaded.tokenizer->eos()) d.tokens.push_back(*loaded.tokenizer->eos());
  if (part == ScoredPart::kAnswers) d.first_scored = std::max(1, prompt);
  return d;
}

// A line of {"text": ...}, or nothing where the line is something else.
std::optional<std::string> PlainText(std::string_view line) {
  const nlohmann::json parsed = nlohmann::json::parse(line, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("text") || !parsed["text"].is_string())
    return std::nullopt;
  return parsed["text"].get<std::string>();
}

// Lines of {"text": ...}; nothing where the first line is none.
Result<std::optional<std::vector<Document>>> TextLines(const std::string& jsonl,
                                                       const std::string& path,
                                                       const LoadedModel& loaded) {
  std::vector<Document> documents;
  int line_number = 0;
  for (size_t at = 0; at < jsonl.size();) {
    const size_t end = std::min(jsonl.find('\n', at), jsonl.size());
    const std::string_view line = std::string_view(jsonl).substr(at, end - at);
    at = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const auto text = PlainText(line);
    if (!text && documents.empty()) return std::optional<std::vector<Document>>();
    if (!text)
      return Error{path + ", line " + std::to_string(line_number) + ": \"text\" is missing"};
    Document d;
    d.tokens = Bos(loaded);
    Append(d.tokens, loaded.tokenizer->Encode(*text, SpecialTokens::kAsText));
    d.cluster = static_cast<int32_t>(documents.size());
    documents.push_back(std::move(d));
  }
  return std::optional(std::move(documents));
}

Result<std::vector<Document>> ReadAllDocuments(const std::string& path, const LoadedModel& loaded,
                                               const DocumentOptions& options) {
  if (path != "demo" && !path.ends_with(".jsonl")) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMostFileBytes));
    return CutIntoWindows(loaded.tokenizer->Encode(text, SpecialTokens::kAsText), options.window,
                          Bos(loaded));
  }
  if (path != "demo") {
    ASSIGN_OR_RETURN(const std::string jsonl, ReadFile(path, kMostFileBytes));
    ASSIGN_OR_RETURN(auto texts, TextLines(jsonl, path, loaded));
    if (texts) return std::move(*texts);
  }
  ASSIGN_OR_RETURN(const std::vector<TaskItem> items, ReadTask(path));
  std::vector<Document> documents;
  for (const TaskItem& item : items) {
    ASSIGN_OR_RETURN(Document d, DocumentOf(item, loaded, options.part));
    documents.push_back(std::move(d));
  }
  return documents;
}

}  // namespace

Result<std::vector<TaskItem>> ReadTask(const std::string& path) {
  if (path == "demo") return ParseTask(EmbeddedTask(), "the demo task");
  ASSIGN_OR_RETURN(const std::string jsonl, ReadFile(path, kMostFileBytes));
  return ParseTask(jsonl, path);
}

Result<std::vector<TokenId>> EncodeQuestion(const TaskItem& item, const LoadedModel& loaded) {
  std::string messages = item.messages;
  if (messages.empty() && loaded.chat_template) {
    messages = nlohmann::json::array({{{"role", "user"}, {"content", item.prompt}}}).dump();
  }
  if (messages.empty()) {
    std::vector<TokenId> tokens = Bos(loaded);
    Append(tokens, loaded.tokenizer->Encode(item.prompt, SpecialTokens::kAsText));
    return tokens;
  }
  if (!loaded.chat_template) {
    return Error{"question " + item.id +
                 " is a chat, but the model has no chat template: ask with \"prompt\""};
  }
  ASSIGN_OR_RETURN(const std::string text, RenderChatJson(*loaded.chat_template, *loaded.tokenizer,
                                                          "{\"messages\":" + messages +
                                                              ",\"add_generation_prompt\":true}"));
  return loaded.tokenizer->Encode(text, SpecialTokens::kParse);
}

Result<std::vector<Document>> ReadDocuments(const std::string& path, const LoadedModel& loaded,
                                            const DocumentOptions& options) {
  ASSIGN_OR_RETURN(std::vector<Document> documents, ReadAllDocuments(path, loaded, options));
  std::erase_if(documents, [](const Document& d) {
    return d.first_scored >= static_cast<int32_t>(d.tokens.size());
  });
  int64_t tokens = 0;
  size_t kept = 0;
  while (kept < documents.size() && (options.max_tokens == 0 || tokens < options.max_tokens))
    tokens += static_cast<int64_t>(documents[kept++].tokens.size());
  documents.resize(kept);
  if (documents.empty()) return Error{path + " holds no text that could be scored"};
  for (const Document& d : documents) {
    if (static_cast<int32_t>(d.tokens.size()) > loaded.max_positions) {
      return Error{path + " holds a document of " + std::to_string(d.tokens.size()) +
                   " tokens, over the context of " + std::to_string(loaded.max_positions) +
                   ": raise --context or shorten it"};
    }
  }
  return documents;
}

}  // namespace millrace
