#include "index_input.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "pdf_text.h"
#include "prompt_reduction/html_text.h"
#include "reporting.h"

namespace millrace {
namespace {

constexpr size_t kLargestFile = size_t{1} << 30;
constexpr size_t kBatchDocuments = 20'000;
constexpr size_t kBatchBytes = size_t{32} << 20;

bool EndsWith(std::string_view path, std::string_view end) {
  return path.size() >= end.size() && path.substr(path.size() - end.size()) == end;
}

Result<StoredDocument> DocumentOfLine(const std::string& line) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  const auto text = [&](const char* name) {
    const bool there = json.is_object() && json.contains(name) && json[name].is_string();
    return there ? json[name].get<std::string>() : std::string();
  };
  StoredDocument document = {text("id"), text("title"), text("text")};
  if (document.id.empty() || !json.contains("text") || !json["text"].is_string()) {
    return Error{"a line must be a JSON object with the strings \"id\" and \"text\""};
  }
  return document;
}

Status ReadLines(const std::string& path,
                 const std::function<Status(std::span<const StoredDocument>)>& take) {
  std::ifstream file(path);
  if (!file) return Error{path + " cannot be read", ErrorKind::kIo};
  std::vector<StoredDocument> batch;
  size_t bytes = 0;
  std::string line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    auto document = DocumentOfLine(line);
    if (!document.ok()) {
      return Error{path + ", line " + std::to_string(number) + ": " + document.error().message};
    }
    bytes += document->text.size();
    batch.push_back(std::move(*document));
    if (batch.size() < kBatchDocuments && bytes < kBatchBytes) continue;
    RETURN_IF_ERROR(take(batch));
    batch.clear();
    bytes = 0;
  }
  if (file.bad()) return Error{path + " cannot be read to its end", ErrorKind::kIo};
  return batch.empty() ? Status() : take(batch);
}

}  // namespace

Status ReadForIndex(const std::string& path,
                    const std::function<Status(std::span<const StoredDocument>)>& take) {
  if (EndsWith(path, ".jsonl")) return ReadLines(path, take);
  StoredDocument document;
  document.id = path;
  if (EndsWith(path, ".pdf")) {
    ASSIGN_OR_RETURN(document.text, ReadPdf(path));
    return take({&document, 1});
  }
  ASSIGN_OR_RETURN(document.text, ReadFile(path, kLargestFile));
  if (EndsWith(path, ".html") || EndsWith(path, ".htm")) {
    HtmlText page = ReadHtml(document.text);
    document.title = page.title.substr(0, kMaxStoredTitle);
    document.text = std::move(page.text);
  } else if (EndsWith(path, ".md")) {
    document.title = MarkdownTitle(document.text, kMaxStoredTitle);
  }
  return take({&document, 1});
}

}  // namespace millrace
