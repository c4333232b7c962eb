// What the translations of /v1/responses and /v1/messages into a chat share. Internal to
// openai_api/.
#pragma once

#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "openai_api/answer_format.h"
#include "openai_api/document_blocks.h"
#include "openai_api/json_fields.h"
#include "openai_api/request_parser.h"

namespace millrace::openai_internal {

// As ParseChatRequest, of a body that has been read.
ApiResult<ChatRequest> ParseChatObject(const Json& json, UnknownFields unknown);

// The same, of a body that was translated: nesting that the translation made too deep is refused.
ApiResult<ChatRequest> ParseTranslated(const Json& json, UnknownFields unknown);

// Responses and messages: an answer has one choice. `echo`: the fields of a response that repeat
// the request's.
std::unique_ptr<AnswerFormat> MakeResponsesFormat(Json echo);
std::unique_ptr<AnswerFormat> MakeMessagesFormat(CitedDocuments documents);

// All fields of `json` but those named.
Json FieldsBut(const Json& json, std::span<const std::string_view> names);
// The fields of `own` and those that a chat takes from the same body: all but those named.
FieldTable WithChatFields(FieldTable own, std::span<const std::string_view> names);
// Fails where a field is there that has another name, or no meaning, in this interface.
void RefuseChatNames(Fields& fields,
                     std::initializer_list<std::pair<const char*, const char*>> names);
// The text of a part of one of `types`. Nothing, and `fields` fails, for anything else.
std::string TextOfPart(Fields& fields, const std::string& where, const Json& part,
                       std::initializer_list<std::string_view> types);
// Appends a part to the text of its message. Those of an answer go on from each other, as where
// citations cut it; others stand on lines of their own, as for vLLM and llama.cpp's server.
void AddPart(std::string_view role, std::string_view part, std::string& text);
// The text of content that is a string or an array of parts of one of `types`, each with a "text",
// in a message of that role. Nothing, and `fields` fails, for anything else.
std::string TextOf(Fields& fields, const std::string& where, const Json& content,
                   std::initializer_list<std::string_view> types, std::string_view role = "user");
Json ChatMessage(std::string_view role, Json content);
// Appends to the last message, if that is the assistant's, or begins one.
void AddToolCall(Json& messages, const std::string& id, const std::string& name,
                 const std::string& arguments);
// {"type": "function", "function": {"name", "description", "parameters", "strict"}}; nulls are left
// out.
Json FunctionTool(const Json& name, const Json& description, const Json& parameters,
                  const Json& strict);
// The member of an object, or null.
const Json& MemberOf(const Json& object, std::string_view name);
bool IsText(const Json& object, std::string_view name);  // it has a string of that name
bool Has(const Json& block, const char* type);           // its "type" is that

}  // namespace millrace::openai_internal
