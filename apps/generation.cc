#include "generation.h"

#include <utility>

namespace millrace {

Result<Generated> Generate(Engine& engine, Request request,
                           const std::function<bool(TokenId)>& on_token) {
  Generated out;
  bool wants_more = true;
  const auto sink = [&](const Event& event) {
    for (const Sampled& sampled : event.tokens) {
      if (!wants_more) break;
      out.ids.push_back(sampled.token);
      wants_more = on_token(sampled.token);
      if (!wants_more) engine.Cancel(event.request, FinishReason::kStop);
    }
    if (event.finish) out.finish = *event.finish;
  };
  ASSIGN_OR_RETURN([[maybe_unused]] const RequestId id, engine.Submit(std::move(request), sink));
  while (engine.Step()) {
  }
  if (out.finish.reason == FinishReason::kError)
    return Error{out.finish.message, ErrorKind::kInternal};
  return out;
}

}  // namespace millrace
