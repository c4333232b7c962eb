// Chats -> text through a model's template. JSON stays inside: callers give a JSON text or plain
// turns.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "answer_parts/answer_style.h"
#include "base/result.h"

namespace millrace {

class ChatTemplate;
class Tokenizer;

struct ChatTurn {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// Renders turns with add_generation_prompt; BOS and EOS texts are the tokenizer's. "now" is the
// current date.
Result<std::string> RenderTurns(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                const std::vector<ChatTurn>& turns);

// Renders {"messages": [...], "tools": [...], "documents": [...], "add_generation_prompt": bool,
// "bos_token", "eos_token", "now" (a date, YYYY-MM-DD), "chat_template_kwargs": {...}}; the three
// before the last override the model's and today's. Malformed JSON and a template that raises are
// errors with their message. kNineCharacters: another id of a tool call is shown to the template as
// nine letters and digits that are made of it, in the call and in its result alike, so that a chat
// that was begun elsewhere goes on.
Result<std::string> RenderChatJson(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                   std::string_view json, CallIds ids = CallIds::kAny);

// How the model writes tool calls and reasoning: by the template's source, and by rendering a few
// chats, whether it has a place for tools and for a system message, and which ids it takes. A
// template that does not name reasoning's markers, but whose vocabulary has <think> and </think>,
// reasons with them.
AnswerStyle StyleOf(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                    std::string_view source);

// An id of a tool call as kNineCharacters wants it: the number in base 36.
std::string NineCharactersOf(uint64_t number);

// Whether the template shows what it is given as `documents`: found by rendering one.
bool TakesDocuments(const ChatTemplate& chat_template, const Tokenizer& tokenizer);

}  // namespace millrace
