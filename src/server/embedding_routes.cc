#include "server/embedding_routes.h"

#include <utility>

#include "embedding/embedding_service.h"
#include "openai_api/embedding_requests.h"
#include "openai_api/embedding_response.h"
#include "server/key_limits.h"

namespace millrace::server_internal {
namespace {

int64_t TokensOf(const std::vector<EmbeddingText>& texts) {
  int64_t tokens = 0;
  for (const EmbeddingText& text : texts) tokens += std::ssize(text.tokens);
  return tokens;
}

// Whether `wanted` names the model; if not, the request is refused. `kind`: "embedding".
bool IsServed(const ContextPointer& context, const SideModel& model, const std::string& wanted,
              std::string_view kind, std::string_view flag) {
  ApiError error;
  if (model.service == nullptr) {
    error = HttpApiError(
        404, fmt::format("This server has no {} model: start it with {} FILE.", kind, flag));
  } else if (!wanted.empty() && wanted != model.id) {
    error = HttpApiError(404, fmt::format("The model '{}' does not exist here; the {} model is "
                                          "'{}'.",
                                          wanted.substr(0, 200), kind, model.id));
  } else {
    return true;
  }
  error.param = "model";
  error.code = "model_not_found";
  context->Refuse(error);
  return false;
}

// Computes the texts; `answer` makes the response's body of the numbers, on the model's thread. The
// key's limits are those of generations, with the texts' tokens as prompt.
void ComputeTexts(const ContextPointer& context, EmbeddingService& service, Metrics::SideUse use,
                  std::vector<EmbeddingText> texts, std::string_view name,
                  std::function<std::string(std::vector<float>)> answer) {
  const int64_t tokens = TokensOf(texts), count = std::ssize(texts);
  std::shared_ptr<KeyLoad::Ticket> ticket;
  if (const ApiKey* key = context->api_key()) {
    auto entered = EnterKeyLoad(context, *key, tokens);
    if (const auto* error = std::get_if<ApiError>(&entered)) return context->Refuse(*error);
    ticket = std::make_shared<KeyLoad::Ticket>(std::get<KeyLoad::Ticket>(std::move(entered)));
  }
  ++context->generations();
  EmbeddingJob job;
  job.texts = std::move(texts);
  job.is_cancelled = [context] { return context->responder().disconnected(); };
  job.done = [=, answer = std::move(answer),
              held = ticket](Result<std::vector<float>> numbers) mutable {
    held.reset();  // before the answer: who has it may send the next
    if (context->responder().disconnected()) {
      context->Log(499, EndState::kCancelled);
    } else if (!numbers.ok()) {
      context->Refuse(ToApiError(numbers.error()));
    } else {
      context->metrics().SideModelAnswered(use, count, tokens, context->SinceArrival());
      context->Reply(JsonResponse(200, answer(std::move(*numbers))));
    }
    --context->generations();
  };
  ticket.reset();
  const Status accepted = service.Submit(std::move(job), name);
  if (accepted.ok()) return;
  ApiError error = ToApiError(accepted.error());
  if (error.status == 400) error.param = std::string(name.substr(name.rfind(' ') + 1));
  context->Refuse(error);
  --context->generations();
}

}  // namespace

void HandleEmbeddings(const ContextPointer& context, const HttpRequest& request) {
  const Shared& shared = context->shared();
  const SideModel& served = shared.model.embedding;
  auto parsed = ParseEmbeddingsRequest(request.body, shared.config.unknown_fields);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  auto& wanted = std::get<EmbeddingsRequest>(parsed);
  if (!IsServed(context, served, wanted.model, "embedding", "--embedding-model")) return;
  const EmbeddingModel& model = served.service->model();
  const int32_t width = model.outputs();
  const int32_t dimensions = wanted.dimensions.value_or(width);
  if (dimensions > width) {
    ApiError error = HttpApiError(400, fmt::format("'dimensions' is {}, but the vectors of '{}' "
                                                   "have {}.",
                                                   dimensions, served.id, width));
    error.param = "dimensions";
    return context->Refuse(error);
  }
  std::vector<EmbeddingText> texts;
  for (Prompt& input : wanted.inputs) {
    if (auto* ids = std::get_if<std::vector<TokenId>>(&input)) {
      texts.push_back({.tokens = std::move(*ids)});
    } else {
      texts.push_back(model.Encode(std::get<std::string>(input)));
    }
  }
  const int64_t tokens = TokensOf(texts), count = std::ssize(texts);
  ComputeTexts(context, *served.service, Metrics::SideUse::kEmbedding, std::move(texts), "input",
               [=, id = served.id, format = wanted.format](std::vector<float> numbers) {
                 MatrixView<const float> vectors{numbers.data(), count, width, width};
                 std::vector<float> shortened;
                 if (dimensions < width) {
                   shortened = Shortened(vectors, dimensions);
                   vectors = {shortened.data(), count, dimensions, dimensions};
                 }
                 return EmbeddingsJson(id, vectors, format, tokens);
               });
}

void HandleRerank(const ContextPointer& context, const HttpRequest& request) {
  const Shared& shared = context->shared();
  const SideModel& served = shared.model.rerank;
  auto parsed = ParseRerankRequest(request.body, shared.config.unknown_fields);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  auto wanted = std::make_shared<RerankRequest>(std::get<RerankRequest>(std::move(parsed)));
  if (!IsServed(context, served, wanted->model, "rerank", "--rerank-model")) return;
  std::vector<EmbeddingText> pairs;
  for (const std::string& document : wanted->documents) {
    pairs.push_back(served.service->model().EncodePair(wanted->query, document));
  }
  const int64_t tokens = TokensOf(pairs);
  ComputeTexts(context, *served.service, Metrics::SideUse::kRerank, std::move(pairs),
               "the query with documents", [=, id = served.id](std::vector<float> scores) {
                 return RerankJson(id, *wanted, scores, tokens);
               });
}

}  // namespace millrace::server_internal
