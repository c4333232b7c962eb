#include "answering.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "engine/engine.h"

namespace millrace {
namespace {

// How many questions may wait in the engine: enough to keep it busy.
constexpr size_t kInFlight = 128;

struct Asked {
  std::vector<TokenId> output;
  std::optional<FinishInfo> finish;
};

}  // namespace

Result<std::vector<Answer>> AnswerTask(const ModelFlags& flags, LoadedModel& loaded,
                                       const std::vector<TaskItem>& items, int32_t max_tokens,
                                       const AnswerProgress& progress) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, MakeEngine(flags, loaded));
  const auto stops = loaded.tokenizer->end_of_generation();
  std::vector<Asked> asked(items.size());
  size_t submitted = 0, done = 0;
  while (done < items.size()) {
    for (; submitted < items.size() && submitted - done < kInFlight; ++submitted) {
      Request request;
      ASSIGN_OR_RETURN(request.prompt, EncodeQuestion(items[submitted], loaded));
      request.sampling.temperature = 0;
      request.max_tokens = max_tokens;
      request.stop_tokens.assign(stops.begin(), stops.end());
      Asked& slot = asked[submitted];
      const auto sink = [&slot, &done](const Event& event) {
        for (const Sampled& s : event.tokens) slot.output.push_back(s.token);
        if (!event.finish) return;
        slot.finish = *event.finish;
        ++done;
      };
      auto id = engine->Submit(std::move(request), sink);
      if (!id.ok()) {
        return Error{"question " + items[submitted].id + ": " + id.error().message,
                     id.error().kind};
      }
    }
    engine->Step();
    if (progress) progress(done, items.size());
  }
  std::vector<Answer> answers;
  for (const Asked& a : asked) {
    if (a.finish->reason == FinishReason::kError)
      return Error{a.finish->message, ErrorKind::kInternal};
    answers.push_back({loaded.tokenizer->Decode(a.output), a.finish->timings.prompt_tokens,
                       a.finish->timings.output_tokens});
  }
  return answers;
}

Result<std::vector<Answer>> AnswerTask(const ModelFlags& flags, const std::string& path,
                                       const std::vector<TaskItem>& items, int32_t max_tokens,
                                       const AnswerProgress& progress) {
  ModelFlags own = flags;
  own.model = path;
  ASSIGN_OR_RETURN(LoadedModel loaded, LoadModel(own));
  return AnswerTask(own, loaded, items, max_tokens, progress);
}

AnswerProgress AnswerProgressLine() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](size_t done, size_t total) {
    std::fprintf(stderr, "\ranswered: %zu of %zu", done, total);
    if (done == total) std::fprintf(stderr, "\r\033[K");
  };
}

}  // namespace millrace
