#include "server/reduction.h"

#include <algorithm>
#include <utility>

#include "base/rng.h"
#include "prompt_reduction/passage_store.h"
#include "prompt_reduction/reduction_switch.h"
#include "server/passage_models.h"
#include "server/prompt_surprise.h"
#include "server/store_access.h"

namespace millrace::server_internal {
namespace {

// The best passages of the store that the request names, judged by the store's own ranking. The
// client is told the store's name, not its file; a worker waits for its lock only for a short time.
ApiResult<ReducedPrompt> ReduceNamedStore(const ContextPointer& context, const ChatRequest& chat,
                                          const ReductionConfig& config, const TokenCounter& count,
                                          const ReductionHelpers& helpers) {
  auto named = FindStore(context->shared().config, chat.store);
  if (auto* error = std::get_if<ApiError>(&named)) {
    error->param = "millrace.store";
    return *error;
  }
  auto opened = OpenStore(context, std::get<NamedStore>(named), PassageStore::Access::kRead);
  if (auto* error = std::get_if<ApiError>(&opened)) return *error;
  auto reduced =
      ReduceFromStore(std::get<OpenedStore>(opened).store, chat.question, config, count, helpers);
  if (!reduced.ok()) return StoreError(reduced.error(), chat.store);
  return std::move(*reduced);
}

ApiResult<ReducedPrompt> Choose(const ContextPointer& context, const ChatRequest& chat,
                                const ReductionConfig& config, const TokenCounter& count,
                                const ReductionHelpers& helpers) {
  if (!chat.store.empty()) return ReduceNamedStore(context, chat, config, count, helpers);
  auto reduced = ReducePrompt(chat.question, chat.documents, config, count, helpers);
  if (!reduced.ok()) return ToApiError(reduced.error());
  return std::move(*reduced);
}

// Tokens that passages may have, so that prompt and answer fit the context; where the request does
// not say how long its answer may be, an eighth of the context is kept for it. At least 1.
int64_t RoomForPassages(const Shared& shared, const ChatRequest& chat, const TokenCounter& count) {
  constexpr int64_t kBetweenPassages = 64;  // newlines, and what the template puts around them
  const int64_t context = shared.model.engine->config().context_length;
  const int64_t answer = chat.options.max_tokens.value_or(static_cast<int32_t>(context / 8));
  const Result<std::string> without = shared.model.render_chat(chat.template_json);
  const int64_t rest = without.ok() ? count(*without) : 0;
  return std::max<int64_t>(context - rest - answer - kBetweenPassages, 1);
}

// Where the chosen passages may not fit the context (a token has a byte at least), chooses again
// within what does. Without reduction nothing is dropped: a prompt that is too long is refused.
ApiResult<ReducedPrompt> ChooseWithinContext(const ContextPointer& context, const ChatRequest& chat,
                                             ReductionConfig config, const TokenCounter& count,
                                             const ReductionHelpers& helpers) {
  const Shared& shared = context->shared();
  auto chosen = Choose(context, chat, config, count, helpers);
  const auto* reduced = std::get_if<ReducedPrompt>(&chosen);
  if (reduced == nullptr || config.mode == ReductionMode::kOff) return chosen;
  const int64_t context_length = shared.model.engine->config().context_length;
  const auto most_rest = static_cast<int64_t>(chat.template_json.size()) +
                         chat.options.max_tokens.value_or(static_cast<int32_t>(context_length / 8));
  if (reduced->tokens_after + most_rest <= context_length - context_length / 8) return chosen;
  const int64_t room = RoomForPassages(shared, chat, count);
  if (reduced->tokens_after <= room) return chosen;
  config.token_budget = std::min(config.token_budget.value_or(room), room);
  return Choose(context, chat, config, count, helpers);
}

}  // namespace

ApiResult<std::shared_ptr<const ReductionReport>> ReducePassages(const ContextPointer& context,
                                                                 ChatRequest& chat) {
  std::shared_ptr<ReductionReport> report;
  if (chat.documents.empty() && chat.store.empty()) return report;
  const Shared& shared = context->shared();
  const ReductionConfig& config = chat.reduce ? *chat.reduce : shared.config.reduction;
  const Tokenizer& tokenizer = *shared.model.tokenizer;
  const TimePoint begin = shared.clock.Now();
  const auto count = [&](std::string_view text) {
    return static_cast<int64_t>(tokenizer.Encode(text, SpecialTokens::kAsText).size());
  };
  ReductionHelpers helpers;
  helpers.models = PassageModelsOf(shared.model);
  Duration pruning{};
  if (config.prune_ratio) {
    helpers.surprise = [&, model = SurpriseModelOf(context)](std::span<const std::string> texts) {
      const TimePoint asked = shared.clock.Now();
      auto scored = model(texts);
      pruning += shared.clock.Now() - asked;
      return scored;
    };
  }
  helpers.reuse = &context->reuse();
  // As prefix caches are: one per key and salt.
  helpers.reuse_root = HashOfTerm(context->key()) ^ Mix64(HashOfTerm(chat.options.cache_salt));
  auto chosen = ChooseWithinContext(context, chat, config, count, helpers);
  if (const auto* error = std::get_if<ApiError>(&chosen)) return *error;
  auto& reduced = std::get<ReducedPrompt>(chosen);
  auto with = ChatWithPassages(chat.template_json, reduced.kept, shared.model.passage_place);
  if (!with.ok()) return ToApiError(with.error());
  chat.template_json = std::move(*with);
  chat.documents.clear();
  for (JudgedPassage& kept : reduced.kept) kept.passage.text.clear();  // it is in the prompt
  const Duration took = shared.clock.Now() - begin;
  report = std::make_shared<ReductionReport>();
  report->mode = NameOf(config);
  report->reduced = std::move(reduced);
  report->took_ms = Milliseconds(took);
  report->pruning_ms = Milliseconds(pruning);
  context->metrics().PassagesReduced(report->reduced, took);
  return report;
}

}  // namespace millrace::server_internal
