#include "openai_api/passage_options.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "prompt_reduction/reduction_switch.h"

namespace millrace::openai_internal {
namespace {

constexpr double kSentenceRatio = 0.5;
constexpr int64_t kMostBudget = 1'000'000'000;  // tokens

// A member that is a string, or absent.
std::string StringMember(Fields& fields, const Json& object, const char* name,
                         const std::string& where) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return {};
  if (found->is_string()) return found->get<std::string>();
  fields.Fail(where + "." + name, fmt::format("'{}.{}' must be a string.", where, name),
              "invalid_type");
  return {};
}

void ParseDocument(Fields& fields, const Json& document, const std::string& where,
                   Passage& passage) {
  if (document.is_string()) {
    passage.text = document.get<std::string>();
    return;
  }
  if (!document.is_object() || !document.contains("text") || document["text"].is_null()) {
    fields.Fail(where,
                fmt::format("'{}' must be a string or an object {{\"id\", \"text\", \"title\"}} "
                            "with a text.",
                            where),
                "invalid_type");
    return;
  }
  passage.text = StringMember(fields, document, "text", where);
  passage.title = StringMember(fields, document, "title", where);
  passage.id = StringMember(fields, document, "id", where);
  if (passage.id.size() > kMaxDocumentId || passage.title.size() > kMaxDocumentTitle) {
    fields.Fail(where, fmt::format("'{}' has an id of more than {} bytes or a title of more than "
                                   "{}: shorten it.",
                                   where, kMaxDocumentId, kMaxDocumentTitle));
  }
}

std::optional<PassageOrder> OrderOf(const Json& value) {
  if (value == "document") return PassageOrder::kDocument;
  if (value == "relevance") return PassageOrder::kRelevance;
  if (value == "given") return PassageOrder::kGiven;
  if (value == "reuse") return PassageOrder::kReuse;
  return std::nullopt;
}

bool IsPruneRatio(const Json& value) {
  return value.is_number() && value.get<double>() > 0 && value.get<double>() <= 1;
}

// {"top": K, "token_budget": N, "order": "...", "sentences": true, "prune": 0.7}, any of them.
std::optional<ReductionConfig> ParseReductionObject(const Json& object) {
  ReductionConfig config;
  for (const auto& [name, value] : object.items()) {
    const bool whole = value.is_number_unsigned() && value.get<uint64_t>() >= 1;
    const uint64_t number = whole ? value.get<uint64_t>() : 0;
    if (name == "top" && whole && number <= kMaxTop) {
      config.mode = ReductionMode::kTop;
      config.most = number;
    } else if (name == "token_budget" && whole && number <= kMostBudget) {
      config.token_budget = static_cast<int64_t>(number);
    } else if (const auto order = OrderOf(value); name == "order" && order) {
      config.order = *order;
    } else if (name == "sentences" && value.is_boolean()) {
      config.sentence_ratio.reset();
      if (value.get<bool>()) config.sentence_ratio = kSentenceRatio;
    } else if (name == "prune" && IsPruneRatio(value)) {
      config.prune_ratio = value.get<double>();
    } else {
      return std::nullopt;
    }
  }
  return config;
}

void ParseReduce(Fields& fields, ChatRequest& request) {
  const Json* own = fields.Find("millrace");
  if (own == nullptr || !own->is_object()) return;  // no object: ParseCacheOptions says so
  const auto found = own->find("reduce");
  if (found == own->end() || found->is_null()) return;
  if (found->is_string()) {
    if (auto config = ParseReduction(found->get<std::string>()); config.ok()) {
      request.reduce = *config;
    }
  } else if (found->is_object()) {
    request.reduce = ParseReductionObject(*found);
  }
  if (request.reduce) return;
  fields.Fail(
      "millrace.reduce",
      fmt::format("'millrace.reduce' must be \"auto\", \"off\", \"top:K\" or an object of "
                  "\"top\" (1 to {}), \"token_budget\" (tokens), \"sentences\" (true, false), "
                  "\"prune\" (above 0, at most 1) and \"order\" (\"document\", \"given\", "
                  "\"relevance\", \"reuse\").",
                  kMaxTop),
      "invalid_value");
}

void ParseStore(Fields& fields, ChatRequest& request) {
  const Json* own = fields.Find("millrace");
  if (own == nullptr || !own->is_object()) return;
  const auto found = own->find("store");
  if (found == own->end() || found->is_null()) return;
  if (found->is_string()) request.store = found->get<std::string>();
  if (request.store.empty()) {
    fields.Fail("millrace.store", "'millrace.store' must be the name of a store.", "invalid_type");
  } else if (!request.documents.empty()) {
    fields.Fail("millrace.store", "'millrace.store' is allowed only without 'documents'.");
  }
}

}  // namespace

void ParseDocuments(Fields& fields, std::vector<Passage>& passages) {
  const Json* documents = fields.Find("documents");
  if (documents == nullptr) return;
  if (!documents->is_array()) {
    fields.Fail("documents", "'documents' must be an array of strings or objects.", "invalid_type");
    return;
  }
  if (documents->size() > kMaxDocuments) {
    fields.Fail("documents",
                fmt::format("'documents' holds {} entries, but at most {} are allowed.",
                            documents->size(), kMaxDocuments));
    return;
  }
  for (size_t i = 0; i < documents->size() && fields.ok(); ++i) {
    ParseDocument(fields, (*documents)[i], fmt::format("documents[{}]", i),
                  passages.emplace_back());
  }
}

void ParsePassageOptions(Fields& fields, const Json& messages, ChatRequest& request) {
  ParseDocuments(fields, request.documents);
  ParseReduce(fields, request);
  ParseStore(fields, request);
  if (!fields.ok()) return;
  for (const Json& message : messages) {
    const auto content = message.find("content");
    if (message["role"] == "user" && content != message.end() && content->is_string()) {
      request.question = content->get<std::string>();
    }
  }
}

}  // namespace millrace::openai_internal
