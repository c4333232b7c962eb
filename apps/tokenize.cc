// millrace tokenize MODEL: text to token ids, ids to text, or a chat through the model's template.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "command_line.h"
#include "model_loading.h"
#include "openai_api/template_chat.h"
#include "reporting.h"
#include "verbs.h"

namespace millrace {
namespace {

struct TokenizeFlags {
  ModelFlags model;
  bool json = false;
  bool decode = false;
  bool render = false;
  bool parse_special = false;
  bool add_bos = false;
  std::string template_file;
};

void PrintText(const std::string& text, bool json) {
  if (json) {
    const nlohmann::json out = {{"text", text}};
    std::puts(out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else {
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
}

Result<ChatTemplate> FindTemplate(const TokenizeFlags& flags, const GgufFile& file) {
  if (!flags.template_file.empty()) {
    ASSIGN_OR_RETURN(const std::string source, ReadFile(flags.template_file));
    return ChatTemplate::Parse(source);
  }
  ASSIGN_OR_RETURN(const auto source, file.FindString("tokenizer.chat_template"));
  if (!source) return Error{file.name() + " has no chat template: give one with --template-file"};
  return ChatTemplate::Parse(*source);
}

Status Tokenize(const TokenizeFlags& flags) {
  ASSIGN_OR_RETURN(const MappedGguf mapped, OpenModelFile(flags.model));
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromGguf(mapped.file()));
  ASSIGN_OR_RETURN(const std::string input, ReadStandardInput());
  if (flags.render || !flags.template_file.empty()) {
    ASSIGN_OR_RETURN(const ChatTemplate chat_template, FindTemplate(flags, mapped.file()));
    ASSIGN_OR_RETURN(const std::string text, RenderChatJson(chat_template, tokenizer, input));
    PrintText(text, flags.json);
    return {};
  }
  if (flags.decode) {
    ASSIGN_OR_RETURN(const std::vector<TokenId> ids, ParseTokenIds(input, tokenizer.vocab_size()));
    PrintText(tokenizer.Decode(ids, ControlTokens::kShow), flags.json);
    return {};
  }
  std::vector<TokenId> ids =
      tokenizer.Encode(input, flags.parse_special ? SpecialTokens::kParse : SpecialTokens::kAsText);
  if (flags.add_bos && tokenizer.bos()) ids.insert(ids.begin(), *tokenizer.bos());
  std::string list;
  for (const TokenId id : ids)
    list += (list.empty() ? "" : flags.json ? "," : " ") + std::to_string(id.value);
  std::printf(flags.json ? "{\"ids\":[%s]}\n" : "%s\n", list.c_str());
  return {};
}

}  // namespace

void AddTokenizeVerb(CommandLine& line) {
  auto flags = std::make_shared<TokenizeFlags>();
  Verb verb = line.AddVerb(
      "tokenize", "Text on standard input to token ids, and back; chats through the template");
  AddModelFileFlag(verb, flags->model);
  verb.Switch("--json", flags->json, "as JSON: {\"ids\": [...]} or {\"text\": ...}");
  verb.Switch("--decode", flags->decode, "ids on standard input to text");
  verb.Switch("--parse-special", flags->parse_special,
              "text such as <|im_end|> becomes the special token");
  verb.Switch("--add-bos", flags->add_bos, "begin with the model's BOS token");
  verb.Switch("--template", flags->render,
              "render the chat on standard input: {\"messages\": [...], \"tools\": [...], "
              "\"add_generation_prompt\": true}");
  verb.Option("--template-file", flags->template_file,
              "render through this template instead of the model's");
  verb.OnParsed([flags] { return Tokenize(*flags); });
}

}  // namespace millrace
