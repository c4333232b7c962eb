#include "workload_reading.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "command_line.h"
#include "embedded_model.h"
#include "lab/workload_generators.h"
#include "lab/workload_passages.h"
#include "openai_api/request_parser.h"
#include "openai_api/template_chat.h"
#include "reporting.h"

namespace millrace {
namespace {

constexpr size_t kMostWorkloadBytes = size_t{1} << 30;
constexpr std::string_view kGenerate = "generate:";

struct WordsOfModel {
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;
};

std::vector<int32_t> Numbers(const std::vector<TokenId>& ids) {
  std::vector<int32_t> numbers;
  for (const TokenId id : ids) numbers.push_back(id.value);
  return numbers;
}

// For the template, as the server makes it of the same request: parts joined, tools, its variables.
std::string TemplateJson(const WorkloadRequest& request, const std::string& messages) {
  nlohmann::ordered_json body = nlohmann::ordered_json::object();
  if (!request.options.empty()) body = nlohmann::ordered_json::parse(request.options);
  body["messages"] = nlohmann::ordered_json::parse(messages);
  auto parsed = ParseChatRequest(body.dump(), UnknownFields::kIgnore);
  auto* chat = std::get_if<ChatRequest>(&parsed);
  return chat != nullptr ? std::move(chat->template_json) : "";
}

// As the server makes it; a chat that the server or the template refuses counts as its messages'
// text.
std::vector<int32_t> PromptTokens(const WordsOfModel& model, const WorkloadRequest& request) {
  if (request.messages.empty()) {
    return Numbers(model.tokenizer->Encode(PromptWithPassages(request), SpecialTokens::kAsText));
  }
  const std::string messages = WithDocuments(request.messages, PassageTexts(request));
  if (model.chat_template) {
    const auto rendered =
        RenderChatJson(*model.chat_template, *model.tokenizer, TemplateJson(request, messages));
    if (rendered.ok()) return Numbers(model.tokenizer->Encode(*rendered, SpecialTokens::kParse));
  }
  return Numbers(model.tokenizer->Encode(messages, SpecialTokens::kAsText));
}

}  // namespace

void AddWorkloadFlags(Verb& verb, WorkloadFlags& flags) {
  std::string kinds;
  for (const std::string& kind : GeneratorKinds()) kinds += (kinds.empty() ? "" : "|") + kind;
  static const std::string help =
      "a workload file (src/lab/workload.h), demo: the built-in one, or generate:" + kinds;
  verb.Option("workload", flags.source, help.c_str()).ShowDefault();
  verb.Option("--format", flags.format, "of the file, where its beginning does not show it")
      .OneOf(WorkloadFormats());
  verb.Switch("--skip-bad-lines", flags.skip_bad_lines, "leave bad lines out, and say how many");
  verb.Option("--requests", flags.requests, "only the first so many, or how many are generated");
  verb.Option("--seed", flags.seed, "of everything random").ShowDefault();
}

Result<Workload> ReadWorkload(const WorkloadFlags& flags) {
  const auto count = static_cast<size_t>(flags.requests);
  if (flags.source == "demo")
    return DemoWorkload(EmbeddedTask(), count > 0 ? count : kDemoRequests, flags.seed);
  if (flags.source.starts_with(kGenerate)) {
    return GenerateWorkload(std::string_view(flags.source).substr(kGenerate.size()),
                            {.requests = count > 0 ? count : 400, .seed = flags.seed});
  }
  ASSIGN_OR_RETURN(const std::string text, ReadFile(flags.source, kMostWorkloadBytes));
  ASSIGN_OR_RETURN(Workload workload, ParseWorkload(text, {flags.format, flags.skip_bad_lines}));
  if (count > 0 && workload.requests.size() > count) workload.requests.resize(count);
  return workload;
}

Status CheckStores(const Workload& workload, std::string_view serve_flags) {
  if (serve_flags.find("--store-dir") != serve_flags.npos) return {};
  const std::string words = fmt::format(" {}", serve_flags);
  for (const WorkloadRequest& request : workload.requests) {
    const std::string& store = request.store;
    const bool given = words.find(" " + store + "=") != words.npos ||
                       words.find(" --store=" + store + "=") != words.npos;
    if (store.empty() || given) continue;
    return Error{
        fmt::format("requests search the store '{0}': say where it is, "
                    "--serve-flags '--store {0}=FILE'",
                    store)};
  }
  return {};
}

Result<WorkloadModel> LoadWorkloadModel(const ModelFlags& flags) {
  ASSIGN_OR_RETURN(const MappedGguf mapped, OpenModelFile(flags));
  auto words = std::make_shared<WordsOfModel>();
  ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::FromGguf(mapped.file()));
  words->tokenizer = std::make_unique<Tokenizer>(std::move(tokenizer));
  ASSIGN_OR_RETURN(const auto source, mapped.file().FindString("tokenizer.chat_template"));
  if (source) {
    ASSIGN_OR_RETURN(words->chat_template, ChatTemplate::Parse(*source));
  }
  WorkloadModel model;
  for (int32_t id = 0; id < words->tokenizer->vocab_size(); ++id) {
    const TokenId token(id);
    const std::string_view bytes = words->tokenizer->TokenBytes(token);
    const bool letters = std::all_of(bytes.begin(), bytes.end(), [](char c) {
      return c == ' ' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    });
    if (!words->tokenizer->IsControl(token) && letters && !bytes.empty())
      model.plain_tokens.push_back(id);
  }
  if (model.plain_tokens.empty()) return Error{"the model's vocabulary holds no plain text"};
  model.tokenizer.prompt = [words](const WorkloadRequest& r) { return PromptTokens(*words, r); };
  model.tokenizer.text = [words](std::string_view text) {
    return Numbers(words->tokenizer->Encode(text, SpecialTokens::kAsText));
  };
  return model;
}

}  // namespace millrace
