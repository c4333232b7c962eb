// millrace run MODEL "prompt": generates text on the terminal. Without a prompt, a chat.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "command_line.h"
#include "generation.h"
#include "model_loading.h"
#include "openai_api/template_chat.h"
#include "reporting.h"
#include "tokenizer/text_stream.h"
#include "verbs.h"

namespace millrace {
namespace {

struct RunFlags {
  ModelFlags model;
  std::string prompt;
  std::string tokens;
  std::string system;
  std::string adapter;
  int32_t max_tokens = 512;
  bool ignore_eos = false;
  bool raw = false;
  bool json = false;
  SamplingParams sampling;
};

// `millrace run "What is ...?"`: a lone argument that is no file is the prompt for the embedded
// model.
void TakeLoneArgumentAsPrompt(RunFlags& flags) {
  if (flags.model.model.empty() || !flags.prompt.empty() || !flags.tokens.empty()) return;
  const std::filesystem::path path(flags.model.model);
  std::error_code ignored;
  if (path.extension() == ".gguf" || std::filesystem::exists(path, ignored)) return;
  flags.prompt = std::exchange(flags.model.model, "");
}

nlohmann::ordered_json TimingsJson(const RequestTimings& t) {
  const double prefill = Seconds(t.prefill), decode = Seconds(t.decode);
  return {{"prompt_tokens", t.prompt_tokens},
          {"output_tokens", t.output_tokens},
          {"cached_tokens", t.cached_tokens},
          {"drafted_tokens", t.drafted_tokens},
          {"accepted_tokens", t.accepted_tokens},
          {"speculation_saved_ms", Milliseconds(t.speculation_saved)},
          {"queued_ms", Milliseconds(t.queued)},
          {"prefill_ms", Milliseconds(t.prefill)},
          {"decode_ms", Milliseconds(t.decode)},
          {"prefill_tokens_per_second", prefill > 0 ? t.prompt_tokens / prefill : 0},
          {"decode_tokens_per_second", decode > 0 ? (t.output_tokens - 1) / decode : 0}};
}

class Runner {
 public:
  Runner(const RunFlags& flags, LoadedModel& loaded, Engine& engine)
      : flags_(flags), loaded_(loaded), engine_(engine) {}

  // Generates after `prompt`; prints as it goes unless --json. Returns the text.
  Result<std::string> Complete(std::vector<TokenId> prompt) {
    Request request;
    request.prompt = std::move(prompt);
    request.sampling = flags_.sampling;
    request.max_tokens = flags_.max_tokens;
    if (!flags_.adapter.empty()) request.adapter = AdapterId(0);
    if (!flags_.ignore_eos) {
      const auto stops = loaded_.tokenizer->end_of_generation();
      request.stop_tokens.assign(stops.begin(), stops.end());
    }
    TextStream stream(*loaded_.tokenizer, {});
    std::string text;
    const auto emit = [&](const std::string& piece) {
      text += piece;
      if (flags_.json || piece.empty()) return;
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      std::fflush(stdout);
    };
    auto generated = Generate(engine_, std::move(request), [&](TokenId token) {
      emit(stream.Append(token));
      return true;
    });
    if (!generated.ok()) return generated.error();
    emit(stream.Finish());
    if (flags_.json) PrintJson(*generated, text);
    return text;
  }

  Result<std::vector<TokenId>> EncodePrompt(const std::string& text) const {
    if (flags_.raw || !loaded_.chat_template)
      return WithBos(loaded_.tokenizer->Encode(text, SpecialTokens::kAsText));
    std::vector<ChatTurn> turns;
    if (!flags_.system.empty()) turns.push_back({"system", flags_.system});
    turns.push_back({"user", text});
    return EncodeChat(turns);
  }

  Result<std::vector<TokenId>> EncodeChat(const std::vector<ChatTurn>& turns) const {
    ASSIGN_OR_RETURN(const std::string rendered,
                     RenderTurns(*loaded_.chat_template, *loaded_.tokenizer, turns));
    return loaded_.tokenizer->Encode(rendered, SpecialTokens::kParse);
  }

  Status Chat() {
    if (!loaded_.chat_template) {
      return Error{
          "the model has no chat template: give a prompt, as in millrace run MODEL \"Once upon a "
          "time\""};
    }
    std::vector<ChatTurn> turns;
    if (!flags_.system.empty()) turns.push_back({"system", flags_.system});
    std::fprintf(stderr, "%s: type a message; Ctrl-D ends.\n", loaded_.id.c_str());
    for (std::string line; Ask(line);) {
      if (line.empty()) continue;
      turns.push_back({"user", line});
      ASSIGN_OR_RETURN(std::vector<TokenId> prompt, EncodeChat(turns));
      ASSIGN_OR_RETURN(std::string answer, Complete(std::move(prompt)));
      std::puts("");
      turns.push_back({"assistant", std::move(answer)});
    }
    return {};
  }

 private:
  static bool Ask(std::string& line) {
    std::fputs("> ", stderr);
    return static_cast<bool>(std::getline(std::cin, line));
  }

  std::vector<TokenId> WithBos(std::vector<TokenId> ids) const {
    if (loaded_.tokenizer->adds_bos() && loaded_.tokenizer->bos())
      ids.insert(ids.begin(), *loaded_.tokenizer->bos());
    return ids;
  }

  static void PrintJson(const Generated& generated, const std::string& text) {
    nlohmann::ordered_json out;
    out["ids"] = nlohmann::json::array();
    for (const TokenId id : generated.ids) out["ids"].push_back(id.value);
    out["text"] = text;
    out["finish_reason"] = NameOf(generated.finish.reason);
    out["timings"] = TimingsJson(generated.finish.timings);
    std::puts(out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  }

  const RunFlags& flags_;
  LoadedModel& loaded_;
  Engine& engine_;
};

Status Run(RunFlags& flags) {
  TakeLoneArgumentAsPrompt(flags);
  if (flags.prompt == "-") {
    ASSIGN_OR_RETURN(flags.prompt, ReadStandardInput());
  }
  flags.model.max_running = 1;
  if (!flags.adapter.empty()) flags.model.adapters = {"lora=" + flags.adapter};
  ASSIGN_OR_RETURN(LoadedModel loaded, LoadModel(flags.model));
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, MakeEngine(flags.model, loaded));
  Runner runner(flags, loaded, *engine);
  if (flags.tokens.empty() && flags.prompt.empty()) return runner.Chat();
  std::vector<TokenId> prompt;
  if (!flags.tokens.empty()) {
    ASSIGN_OR_RETURN(prompt, ParseTokenIds(flags.tokens, loaded.info.vocab_size));
  } else {
    ASSIGN_OR_RETURN(prompt, runner.EncodePrompt(flags.prompt));
  }
  ASSIGN_OR_RETURN(const std::string text, runner.Complete(std::move(prompt)));
  if (!flags.json && (text.empty() || text.back() != '\n')) std::puts("");
  return {};
}

}  // namespace

void AddRunVerb(CommandLine& line) {
  auto flags = std::make_shared<RunFlags>();
  flags->sampling.temperature = 0.0f;
  Verb verb = line.AddVerb("run", "Generate text on the terminal; without a prompt, a chat");
  AddModelFlags(verb, flags->model);
  AddPrefixCacheFlags(verb, flags->model);
  AddSpeculationFlags(verb, flags->model);
  verb.Option("--lora", flags->adapter, "FILE[:SCALE]: answer under this LoRA adapter (GGUF)")
      .Placeholder("FILE[:SCALE]");
  verb.Option("prompt", flags->prompt, "the prompt; - reads standard input; without one, a chat");
  verb.Option("--tokens", flags->tokens, "the prompt as token ids, such as 1,2,3");
  verb.Option("--system", flags->system, "a system message");
  verb.Switch("--raw", flags->raw, "no chat template: the model continues the prompt");
  verb.Option("--max-tokens", flags->max_tokens, "longest answer").ShowDefault().Range(1, 1 << 24);
  verb.Switch("--ignore-eos", flags->ignore_eos, "go on after an end-of-generation token");
  verb.Switch("--json", flags->json, "ids, text and timings as JSON");
  verb.Option("--temperature", flags->sampling.temperature, "0 is greedy").ShowDefault();
  verb.Option("--top-k", flags->sampling.top_k, "0: all").ShowDefault();
  verb.Option("--top-p", flags->sampling.top_p, "").ShowDefault();
  verb.Option("--min-p", flags->sampling.min_p, "").ShowDefault();
  verb.Option("--repetition-penalty", flags->sampling.repetition_penalty, "").ShowDefault();
  verb.Option("--seed", flags->sampling.seed, "").ShowDefault();
  verb.OnParsed([flags] { return Run(*flags); });
}

}  // namespace millrace
