#include "server/reduction.h"

#include <utility>

#include "prompt_reduction/reduction_switch.h"

namespace millrace::server_internal {

ApiResult<std::shared_ptr<const ReductionReport>> ReducePassages(const ContextPointer& context,
                                                                 ChatRequest& chat) {
  std::shared_ptr<ReductionReport> report;
  if (chat.documents.empty()) return report;
  const Shared& shared = context->shared();
  const ReductionConfig& config = chat.reduce ? *chat.reduce : shared.config.reduction;
  const Tokenizer& tokenizer = *shared.model.tokenizer;
  const TimePoint begin = shared.clock.Now();
  auto reduced = ReducePrompt(chat.question, chat.documents, config, [&](std::string_view text) {
    return static_cast<int64_t>(tokenizer.Encode(text, SpecialTokens::kAsText).size());
  });
  if (!reduced.ok()) return ToApiError(reduced.error());
  auto with = ChatWithPassages(chat.template_json, reduced->kept, shared.model.passage_place);
  if (!with.ok()) return ToApiError(with.error());
  chat.template_json = std::move(*with);
  chat.documents.clear();
  for (JudgedPassage& kept : reduced->kept) kept.passage.text.clear();  // it is in the prompt
  const Duration took = shared.clock.Now() - begin;
  report = std::make_shared<ReductionReport>();
  report->mode = NameOf(config);
  report->reduced = std::move(*reduced);
  report->took_ms = Milliseconds(took);
  context->metrics().PassagesReduced(report->reduced, took);
  return report;
}

}  // namespace millrace::server_internal
