#include "server/reduction.h"

#include <utility>

#include "prompt_reduction/passage_store.h"
#include "prompt_reduction/reduction_switch.h"
#include "server/store_access.h"

namespace millrace::server_internal {
namespace {

// The best passages of the store that the request names, judged by the store's own ranking. The
// client is told the store's name, not its file; a worker waits for its lock only for a short time.
ApiResult<ReducedPrompt> ReduceNamedStore(const ServerConfig& server, const ChatRequest& chat,
                                          const ReductionConfig& config,
                                          const TokenCounter& count) {
  auto named = FindStore(server, chat.store);
  if (auto* error = std::get_if<ApiError>(&named)) {
    error->param = "millrace.store";
    return *error;
  }
  auto store = PassageStore::Open(std::get<NamedStore>(named).file, PassageStore::Access::kRead,
                                  kStoreLockPatience);
  if (!store.ok()) return StoreError(store.error(), chat.store);
  auto reduced = ReduceFromStore(*store, chat.question, config, count);
  if (!reduced.ok()) return StoreError(reduced.error(), chat.store);
  return std::move(*reduced);
}

ApiResult<ReducedPrompt> ReduceDocuments(const ChatRequest& chat, const ReductionConfig& config,
                                         const TokenCounter& count) {
  auto reduced = ReducePrompt(chat.question, chat.documents, config, count);
  if (!reduced.ok()) return ToApiError(reduced.error());
  return std::move(*reduced);
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
  auto chosen = chat.store.empty() ? ReduceDocuments(chat, config, count)
                                   : ReduceNamedStore(shared.config, chat, config, count);
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
  context->metrics().PassagesReduced(report->reduced, took);
  return report;
}

}  // namespace millrace::server_internal
