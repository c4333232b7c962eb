// The flags of speculation, and the draft model.
#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "command_line.h"
#include "embedded_model.h"
#include "embedding/token_scorer.h"
#include "model_loading.h"

namespace millrace {
namespace {

// A draft's tokens are verified by their ids: the same id must mean the same text.
Status CheckVocabulary(const std::string& name, const Tokenizer& target, const Tokenizer& draft) {
  const auto refuse = [&](const std::string& difference) {
    return Error{"the draft model " + name + " has another vocabulary than the target (" +
                 difference + "): give --draft a model with the target's tokenizer, or use " +
                 "--speculate lookup or suffix, which need none"};
  };
  if (target.vocab_size() != draft.vocab_size()) {
    return refuse(std::to_string(draft.vocab_size()) + " tokens, not " +
                  std::to_string(target.vocab_size()));
  }
  for (int32_t id = 0; id < target.vocab_size(); ++id) {
    const std::string text(target.TokenText(TokenId(id)));
    const std::string other(draft.TokenText(TokenId(id)));
    if (text != other) {
      return refuse("token " + std::to_string(id) + " is '" + other + "', not '" + text + "'");
    }
  }
  return {};
}

Result<MappedGguf> OpenDraftFile(const ModelFlags& flags) {
  if (!flags.draft.empty()) return MappedGguf::Open(flags.draft);
  return MappedGguf::FromStatic(EmbeddedDraft(), "embedded draft model");
}

}  // namespace

void AddSpeculationFlags(Verb& verb, ModelFlags& flags) {
  verb.Option("--speculate", flags.speculate,
              "draft tokens and verify several at once: auto (whichever drafter pays, as "
              "measured), off, lookup, suffix or draft")
      .Env("MILLRACE_SPECULATE")
      .ShowDefault()
      .OneOf({"auto", "off", "lookup", "suffix", "draft"});
  verb.Option("--draft", flags.draft,
              "a smaller GGUF model with the same vocabulary, which drafts (default: the "
              "embedded one, for the embedded model)")
      .Env("MILLRACE_DRAFT")
      .Placeholder("MODEL");
  verb.Option("--max-draft", flags.max_draft, "tokens drafted for one sequence in a step")
      .ShowDefault()
      .Range(1, kMaxDraft);
}

Status LoadDraft(const ModelFlags& flags, const TransformerOptions& options, LoadedModel& loaded) {
  ASSIGN_OR_RETURN(const Speculation mode, ParseSpeculation(flags.speculate));
  const bool is_used = mode == Speculation::kAuto || mode == Speculation::kDraft;
  const bool is_there = !flags.draft.empty() || (flags.model.empty() && !EmbeddedDraft().empty());
  if (!is_there && mode == Speculation::kDraft) {
    return Error{"--speculate draft needs a draft model: name one with --draft MODEL"};
  }
  if (!is_used || !is_there) return {};
  ASSIGN_OR_RETURN(MappedGguf opened, OpenDraftFile(flags));
  const auto mapped = std::make_shared<const MappedGguf>(std::move(opened));
  const GgufFile& file = mapped->file();
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromGguf(file));
  RETURN_IF_ERROR(CheckVocabulary(file.name(), *loaded.tokenizer, tokenizer));
  TransformerOptions draft_options = options;
  draft_options.weights.mapped = mapped;
  ASSIGN_OR_RETURN(loaded.draft, Transformer::Load(file, draft_options, *loaded.pool));
  loaded.draft_info = loaded.draft->info();
  return {};
}

std::function<Result<std::vector<float>>(std::span<const TokenId>)> DraftSurprises(
    const ModelFlags& flags, Isa isa) {
  if (flags.draft.empty() && (!flags.model.empty() || EmbeddedDraft().empty())) return {};
  struct Lazy {
    std::mutex mutex;
    std::unique_ptr<ThreadPool> pool;  // before the scorer, which uses it
    std::unique_ptr<TokenScorer> scorer;
  };
  return [lazy = std::make_shared<Lazy>(), flags,
          isa](std::span<const TokenId> tokens) -> Result<std::vector<float>> {
    TokenScorer* scorer = nullptr;
    {
      const std::lock_guard lock(lazy->mutex);
      if (!lazy->scorer) {
        ASSIGN_OR_RETURN(MappedGguf opened, OpenDraftFile(flags));
        const auto mapped = std::make_shared<const MappedGguf>(std::move(opened));
        WeightOptions weights;
        weights.mapped = mapped;
        const int cores = static_cast<int>(std::thread::hardware_concurrency());
        lazy->pool = std::make_unique<ThreadPool>(std::max(1, cores));
        ASSIGN_OR_RETURN(lazy->scorer,
                         TokenScorer::Load(mapped->file(), isa, weights, *lazy->pool));
      }
      scorer = lazy->scorer.get();
    }
    return scorer->Surprises(tokens);
  };
}

}  // namespace millrace
