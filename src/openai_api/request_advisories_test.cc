// Published advisories about what a request's body may hold. docs/SECURITY.md lists them.
#include <ctime>
#include <functional>
#include <limits>

#include "openai_api/embedding_requests.h"
#include "openai_api/parsing_test_util.h"
#include "openai_api/store_json.h"
#include "openai_api/translated_chat.h"

namespace millrace {
namespace {

template <class T>
bool IsRefused(const ApiResult<T>& result) {
  const auto* error = std::get_if<ApiError>(&result);
  return error != nullptr && error->status == 400 && !error->message.empty();
}

struct AnyParser {
  const char* name;
  std::function<bool(std::string_view)> refuses;
};
std::vector<AnyParser> AllParsers() {
  constexpr UnknownFields kIgnored = UnknownFields::kIgnore;
  const auto of = [](auto parse) {
    return [parse](std::string_view body) { return IsRefused(parse(body)); };
  };
  return {
      {"chat", of([](auto b) { return ParseChatRequest(b, kIgnored); })},
      {"completion", of([](auto b) { return ParseCompletionRequest(b, kIgnored); })},
      {"responses", of([](auto b) { return ParseResponsesRequest(b, kIgnored); })},
      {"messages", of([](auto b) { return ParseMessagesRequest(b, kIgnored); })},
      {"count", of([](auto b) { return ParseCountTokensRequest(b, kIgnored); })},
      {"embeddings", of([](auto b) { return ParseEmbeddingsRequest(b, kIgnored); })},
      {"rerank", of([](auto b) { return ParseRerankRequest(b, kIgnored); })},
      {"tokenize", of([](auto b) { return ParseTokenizeRequest(b); })},
      {"detokenize", of([](auto b) { return ParseDetokenizeRequest(b); })},
      {"store", of([](auto b) { return ParseStoreCreation(b, "x", kIgnored); })},
      {"store file", of([](auto b) { return ParseStoreFile(b, kIgnored); })},
      {"store files", of([](auto b) { return ParseStoreFileBatch(b, kIgnored); })},
      {"store documents", of([](auto b) { return ParseStoreDocuments(b, kIgnored); })},
      {"store search", of([](auto b) { return ParseStoreSearch(b, kIgnored); })},
  };
}

// Stacks that end: a parser of JSON that calls itself for each bracket (the kind of CVE-2026-25048
// and of llama.cpp's issue 25283, before any grammar is reached).
TEST(RequestAdvisories, SixtyThousandBracketsOnEveryRoute) {
  for (const AnyParser& parser : AllParsers()) {
    for (const char* open : {"[", "{\"a\":", "{\"messages\":[", "[{\"tools\":"}) {
      std::string body = "{\"x\":";
      for (int i = 0; i < 60'000; ++i) body += open;
      const std::clock_t begin = std::clock();
      EXPECT_TRUE(parser.refuses(body)) << parser.name << " " << open;
      EXPECT_LT(std::clock() - begin, CLOCKS_PER_SEC) << parser.name << " " << open;
    }
    EXPECT_TRUE(
        parser.refuses("{\"x\":" + std::string(60'000, '[') + std::string(60'000, ']') + "}"))
        << parser.name;
  }
}

// CVE-2025-62426 (vLLM): names in chat_template_kwargs took the place of what the server itself
// gives to the template. (The template itself, CVE-2025-61620, is no field of a request.)
TEST(RequestAdvisories, Cve202562426TemplateVariablesReplaceNothing) {
  for (const char* own :
       {"messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"}) {
    const ApiError error = ChatError({{"chat_template_kwargs", {{own, json::array()}}}});
    EXPECT_EQ(error.param, "chat_template_kwargs") << own;
    EXPECT_NE(error.message.find(own), std::string::npos);
  }
  const json looping = "{% for i in range(99999999) %}{% endfor %}";
  const json free = {{"enable_thinking", false}, {"chat_template", looping}, {"tokenize", true}};
  const ChatRequest chat = Chat({{"chat_template_kwargs", free}});
  EXPECT_EQ(json::parse(chat.template_json)["chat_template_kwargs"], free);  // variables, no more
  const auto ignored = ParseChat({{"chat_template", looping}});
  ASSERT_TRUE(std::holds_alternative<ChatRequest>(ignored));
  EXPECT_FALSE(json::parse(std::get<ChatRequest>(ignored).template_json).contains("chat_template"));
  const auto strict = ParseChat({{"chat_template", looping}}, UnknownFields::kRefuse);
  EXPECT_EQ(ErrorOf(strict, "chat_template").param, "chat_template");
}

// Ids of tokens, which index the vocabulary: below zero, past 31 bits, no whole numbers.
TEST(RequestAdvisories, IdsOfTokensAreNeverNegative) {
  for (const json& id : {json(-1), json(INT32_MIN), json(INT64_MIN), json(2147483648u),
                         json(UINT64_MAX), json(1.5), json(-0.5), json(1e300), json("1"), json()}) {
    for (const json& ids : {json::array({id}), json::array({1, id})}) {
      const bool is_text = id.is_string() && ids.size() == 1;  // an array of strings
      if (!is_text) {
        EXPECT_EQ(CompletionError({{"prompt", ids}}).param, "prompt") << ids;
      }
      EXPECT_EQ(CompletionError({{"prompt", json::array({ids})}}).param, "prompt") << ids;
      EXPECT_TRUE(IsRefused(ParseDetokenizeRequest(json{{"tokens", ids}}.dump()))) << ids;
      EXPECT_TRUE(IsRefused(ParseEmbeddingsRequest(json{{"input", json::array({ids})}}.dump(),
                                                   UnknownFields::kIgnore)))
          << ids;
    }
  }
  for (const char* id : {"-1", "-0", "+1", "2147483648", "18446744073709551616", "1e3", " 1", "0x1",
                         "1 ", "\u00b9"}) {
    EXPECT_EQ(ChatError({{"logit_bias", {{id, 1}}}}).param, "logit_bias") << id;
  }
}

// CVE-2026-34756 and CVE-2024-8939 (vLLM): `n` and `best_of` without a bound.
TEST(RequestAdvisories, Cve202634756NumbersOfAnswersAreBounded) {
  for (const json& n : {json(9), json(1'000'000), json(INT64_MAX), json(UINT64_MAX), json(1e18)}) {
    EXPECT_EQ(ChatError({{"n", n}}).param, "n") << n;
    EXPECT_EQ(CompletionError({{"n", n}}).param, "n") << n;
    EXPECT_EQ(CompletionError({{"best_of", n}}).param, "best_of") << n;
  }
  // Nor by many prompts with several answers each.
  const json prompts(kMaxPrompts, "x");
  EXPECT_EQ(CompletionError({{"prompt", prompts}, {"n", 2}}).param, "prompt");
}

}  // namespace
}  // namespace millrace
