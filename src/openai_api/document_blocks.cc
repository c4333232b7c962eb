#include "openai_api/document_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "openai_api/request_parser.h"
#include "openai_api/translation.h"

namespace millrace::openai_internal {
namespace {

// The bytes of so many characters from the front, or all.
size_t BytesOf(std::string_view text, int64_t characters) {
  size_t bytes = 0;
  for (; bytes < text.size(); ++bytes) {
    if (BeginsCharacter(text[bytes]) && characters-- == 0) break;
  }
  return bytes;
}

// A string, or an array of text blocks.
TextBlocks ReadTextBlocks(Fields& fields, const std::string& where, const Json& content) {
  TextBlocks blocks;
  if (!content.is_array()) {
    blocks.begins.push_back(0);
    blocks.text = TextOf(fields, where, content, {"text"});
    return blocks;
  }
  for (size_t i = 0; i < content.size() && fields.ok(); ++i) {
    if (i > 0) blocks.text += '\n';
    blocks.begins.push_back(blocks.text.size());
    blocks.text += TextOfPart(fields, fmt::format("{}[{}]", where, i), content[i], {"text"});
  }
  if (blocks.begins.empty()) blocks.begins.push_back(0);
  return blocks;
}

constexpr size_t kBytesBetween = 2;  // of TitledText's ": "

// Both together are as long as a title may be.
std::string ReadHead(Fields& fields, const std::string& where, const Json& block,
                     const std::string& name, size_t taken) {
  const Json& value = MemberOf(block, name);
  if (value.is_null()) return "";
  if (IsText(block, name) &&
      value.get_ref<const std::string&>().size() + taken <= kMaxDocumentTitle)
    return value.get<std::string>();
  fields.Fail(where + "." + name, fmt::format("'{0}.{1}' must be a string; 'title' and 'context' "
                                              "of a block are at most {2} bytes together.",
                                              where, name, kMaxDocumentTitle));
  return "";
}

void ReadSource(Fields& fields, const std::string& where, const Json& source,
                GivenDocument& document) {
  if (Has(source, "text") && IsText(source, "data")) {
    document.content = {source["data"].get<std::string>(), {0}};
  } else if (Has(source, "content")) {
    document.kind = GivenDocument::Kind::kBlocks;
    document.content = ReadTextBlocks(fields, where + ".content", MemberOf(source, "content"));
  } else {
    fields.Fail(where,
                fmt::format("'{}' must be of type text, with 'data', or content, with 'content': "
                            "this server takes text only, fetches no URL and stores no files.",
                            where),
                "unsupported_parameter");
  }
}

}  // namespace

bool IsDocumentBlock(const Json& block) {
  return Has(block, "document") || Has(block, "search_result");
}

GivenDocument ReadDocumentBlock(Fields& fields, const std::string& where, const Json& block) {
  GivenDocument document;
  if (Has(block, "search_result")) {
    document.kind = GivenDocument::Kind::kSearchResult;
    if (!IsText(block, "source") || !IsText(block, "title")) {
      fields.Fail(where, fmt::format("'{}' must have a source and a title.", where),
                  "missing_required_parameter");
      return document;
    }
    document.source = block["source"].get<std::string>();
    document.content = ReadTextBlocks(fields, where + ".content", MemberOf(block, "content"));
  } else {
    ReadSource(fields, where + ".source", MemberOf(block, "source"), document);
  }
  document.title = ReadHead(fields, where, block, "title", 0);
  document.context =
      ReadHead(fields, where, block, "context", document.title.size() + kBytesBetween);
  document.cited = MemberOf(MemberOf(block, "citations"), "enabled") == true;
  return document;
}

std::string HeadOf(const GivenDocument& document) {
  if (document.context.empty()) return document.title;
  return TitledText(document.title, document.context);
}

Json ChatDocument(const GivenDocument& document) {
  return {{"title", HeadOf(document)}, {"text", document.content.text}};
}

CitedDocuments::CitedDocuments(std::vector<GivenDocument> documents)
    : documents_(std::move(documents)) {
  for (GivenDocument& document : documents_) {
    if (!document.cited) document.content = {};  // its text is the chat's alone
  }
}

std::vector<CitedDocuments::Piece> CitedDocuments::Cut(std::string_view text,
                                                       std::span<const Citation> citations,
                                                       const ReductionReport* reduction) {
  std::vector<Piece> pieces;
  int64_t end = -1;  // of the last piece, which a citation ends
  for (const Citation& citation : citations) {
    auto json = reduction == nullptr ? std::nullopt
                                     : CitationOf(reduction->reduced.kept[citation.number - 1]);
    if (!json) continue;
    if (citation.end != end) {
      const size_t bytes = BytesOf(text, citation.end - characters_);
      pieces.push_back({text.substr(0, bytes)});
      text.remove_prefix(bytes);
      characters_ = end = citation.end;
    }
    pieces.back().citations.push_back(std::move(*json));
  }
  characters_ += CountCharacters(text);
  if (!text.empty() || pieces.empty()) pieces.push_back({text});
  return pieces;
}

// None where the passage is from elsewhere, its document is not to be cited, or enough is.
std::optional<Json> CitedDocuments::CitationOf(const JudgedPassage& passage) {
  if (passage.passage.document >= documents_.size()) return std::nullopt;
  const GivenDocument& document = documents_[passage.passage.document];
  if (!document.cited) return std::nullopt;
  const std::string_view text = document.content.text;
  const size_t begin = std::min(passage.passage.begin, text.size());
  const std::string_view cited = text.substr(begin, passage.bytes);
  const size_t bytes = cited.size() + document.source.size() + document.title.size();
  if (bytes > kMostCitedBytes - cited_bytes_) return std::nullopt;
  cited_bytes_ += bytes;
  const Json title = document.title.empty() ? Json(nullptr) : Json(document.title);
  if (document.kind == GivenDocument::Kind::kText) {
    const int64_t first = CountCharacters(text.substr(0, begin));
    return Json{{"type", "char_location"},
                {"cited_text", cited},
                {"document_index", document.index},
                {"document_title", title},
                {"start_char_index", first},
                {"end_char_index", first + CountCharacters(cited)},
                {"file_id", nullptr}};
  }
  const auto& begins = document.content.begins;
  const auto first = std::upper_bound(begins.begin(), begins.end(), begin) - begins.begin() - 1;
  const auto behind =
      std::lower_bound(begins.begin(), begins.end(), begin + cited.size()) - begins.begin();
  const bool result = document.kind == GivenDocument::Kind::kSearchResult;
  Json json = {{"type", result ? "search_result_location" : "content_block_location"},
               {"cited_text", cited},
               {"start_block_index", first},
               {"end_block_index", behind}};
  if (result) {
    json["search_result_index"] = document.index;
    json["source"] = document.source;
    json["title"] = title;
  } else {
    json["document_index"] = document.index;
    json["document_title"] = title;
    json["file_id"] = nullptr;
  }
  return json;
}

}  // namespace millrace::openai_internal
