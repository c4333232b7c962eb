#include "server/text_endpoints.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "openai_api/answer_plan.h"
#include "openai_api/tool_prompt.h"
#include "openai_api/translated_chat.h"
#include "server/generation.h"
#include "server/reduction.h"

namespace millrace::server_internal {
namespace {

std::vector<TokenId> TokensOf(const Tokenizer& tokenizer, const Prompt& prompt, bool add_bos) {
  if (const auto* ids = std::get_if<std::vector<TokenId>>(&prompt)) return *ids;
  return EncodePlain(tokenizer, std::get<std::string>(prompt), add_bos, SpecialTokens::kAsText);
}

// The prompt that asks for what stands between `prompt` and `suffix`.
ApiResult<std::vector<TokenId>> FillInPrompt(const Tokenizer& tokenizer, const Prompt& prompt,
                                             const std::string& suffix) {
  const auto fill = tokenizer.fill_in_the_middle();
  if (!fill) {
    ApiError error = HttpApiError(400,
                                  "This model cannot fill in the middle (its vocabulary has no "
                                  "tokens for it): leave 'suffix' out.");
    error.param = "suffix";
    error.code = "unsupported_parameter";
    return error;
  }
  std::vector<TokenId> tokens;
  const auto append = [&tokens](const std::vector<TokenId>& more) {
    tokens.insert(tokens.end(), more.begin(), more.end());
  };
  if (tokenizer.adds_bos() && tokenizer.bos()) tokens.push_back(*tokenizer.bos());
  tokens.push_back(fill->prefix);
  append(TokensOf(tokenizer, prompt, false));
  tokens.push_back(fill->suffix);
  append(EncodePlain(tokenizer, suffix, false, SpecialTokens::kAsText));
  tokens.push_back(fill->middle);
  return tokens;
}

// The prompt of a chat: its passages chosen, the template rendered, the beginning of the answer put
// behind it. Refuses what cannot be; then nothing is returned.
struct ChatPrompt {
  std::string text;  // without the beginning of the answer
  std::vector<TokenId> tokens;
  std::shared_ptr<const ReductionReport> reduction;
};
std::optional<ChatPrompt> MakeChatPrompt(const ContextPointer& context, ChatRequest& chat) {
  const Shared& shared = context->shared();
  const auto refuse = [&context](const ApiError& error) {
    context->Refuse(error);
    return std::nullopt;
  };
  if (const auto error = CheckModel(shared.model, chat.options.model)) return refuse(*error);
  if (!shared.model.render_chat) {
    return refuse(
        HttpApiError(400, "The model has no chat template: use /v1/completions instead."));
  }
  if (chat.mentions_tools && !shared.model.answer_style.shows_tools) {
    auto described = ChatWithToolsAsText(chat.template_json, shared.model.answer_style);
    if (!described.ok()) return refuse(ToApiError(described.error()));
    chat.template_json = std::move(*described);
  }
  const auto reduction = ReducePassages(context, chat);
  if (const auto* error = std::get_if<ApiError>(&reduction)) return refuse(*error);
  Result<std::string> text = shared.model.render_chat(chat.template_json);
  if (!text.ok()) {
    ApiError error = ToApiError(text.error());
    error.code.clear();
    error.param = "messages";
    return refuse(error);
  }
  ChatPrompt prompt;
  prompt.tokens = shared.model.tokenizer->Encode(*text + chat.prefill, SpecialTokens::kParse);
  prompt.text = std::move(*text);
  prompt.reduction = std::get<std::shared_ptr<const ReductionReport>>(reduction);
  return prompt;
}

// `format`: none is a chat completion's.
void StartChat(const ContextPointer& context, ChatRequest chat,
               std::unique_ptr<AnswerFormat> format) {
  auto prompt = MakeChatPrompt(context, chat);
  if (!prompt) return;
  AnswerPlan answer = PlanAnswer(context->shared().model.answer_style, chat, prompt->text);
  chat.options.constraint = std::move(answer.constraint);
  Generation::Plan plan{.endpoint = Endpoint::kChat,
                        .options = std::move(chat.options),
                        .prompts = {},
                        .reduction = std::move(prompt->reduction),
                        .format = std::move(format),
                        .reading = std::move(answer.reading)};
  plan.prompts.push_back(std::move(prompt->tokens));
  Generation::Start(context, std::move(plan));
}

void StartTranslated(const ContextPointer& context, ApiResult<TranslatedChat> parsed) {
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  auto& translated = std::get<TranslatedChat>(parsed);
  StartChat(context, std::move(translated.chat), std::move(translated.format));
}

}  // namespace

std::vector<TokenId> EncodePlain(const Tokenizer& tokenizer, std::string_view text, bool add_bos,
                                 SpecialTokens special) {
  std::vector<TokenId> ids = tokenizer.Encode(text, special);
  if (add_bos && tokenizer.adds_bos() && tokenizer.bos()) ids.insert(ids.begin(), *tokenizer.bos());
  return ids;
}

std::optional<ApiError> CheckModel(const ServedModel& model, const std::string& name) {
  if (name.empty() || IsBaseModel(model, name) || AdapterOf(model, name)) return std::nullopt;
  ApiError error = HttpApiError(404, "The model '" + name.substr(0, 200) +
                                         "' does not exist here; served is '" + model.id + "'.");
  error.param = "model";
  error.code = "model_not_found";
  return error;
}

void HandleChat(const ContextPointer& context, const HttpRequest& request) {
  auto parsed = ParseChatRequest(request.body, context->shared().config.unknown_fields);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  StartChat(context, std::get<ChatRequest>(std::move(parsed)), nullptr);
}

void HandleResponses(const ContextPointer& context, const HttpRequest& request) {
  StartTranslated(context,
                  ParseResponsesRequest(request.body, context->shared().config.unknown_fields));
}

void HandleMessages(const ContextPointer& context, const HttpRequest& request) {
  StartTranslated(context,
                  ParseMessagesRequest(request.body, context->shared().config.unknown_fields));
}

void HandleCountTokens(const ContextPointer& context, const HttpRequest& request) {
  auto parsed = ParseCountTokensRequest(request.body, context->shared().config.unknown_fields);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  const auto prompt = MakeChatPrompt(context, std::get<ChatRequest>(parsed));
  if (!prompt) return;
  context->Reply(JsonResponse(200, InputTokensJson(static_cast<int64_t>(prompt->tokens.size()))));
}

void HandleCompletion(const ContextPointer& context, const HttpRequest& request) {
  const Shared& shared = context->shared();
  auto parsed = ParseCompletionRequest(request.body, shared.config.unknown_fields);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  auto& completion = std::get<CompletionRequest>(parsed);
  if (const auto error = CheckModel(shared.model, completion.options.model)) {
    return context->Refuse(*error);
  }
  Generation::Plan plan{.endpoint = Endpoint::kCompletions, .options = {}, .prompts = {}};
  for (Prompt& prompt : completion.prompts) {
    const Tokenizer& tokenizer = *shared.model.tokenizer;
    if (!completion.suffix.empty()) {
      auto filled = FillInPrompt(tokenizer, prompt, completion.suffix);
      if (const auto* error = std::get_if<ApiError>(&filled)) return context->Refuse(*error);
      plan.prompts.push_back(std::get<std::vector<TokenId>>(std::move(filled)));
      continue;
    }
    plan.prompts.push_back(TokensOf(tokenizer, prompt, true));
    if (!completion.options.echo) continue;
    const auto* text = std::get_if<std::string>(&prompt);
    plan.prompt_texts.push_back(text != nullptr ? *text : tokenizer.Decode(plan.prompts.back()));
  }
  plan.options = std::move(completion.options);
  Generation::Start(context, std::move(plan));
}

}  // namespace millrace::server_internal
