#include "lab/task.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>

#include "lab/json_schema.h"
#include "prompt_reduction/passage.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

Result<std::vector<std::string>> Texts(const Json& value) {
  std::vector<std::string> texts;
  const auto add = [&](const Json& v) {
    if (v.is_string()) texts.push_back(v.get<std::string>());
    return v.is_string();
  };
  bool good = !value.is_array() ? add(value) : !value.empty();
  if (value.is_array()) {
    for (const Json& v : value) good = add(v) && good;
  }
  if (!good) return Error{"\"expected\" must hold a text or a list of texts"};
  return texts;
}

Result<Expectation> ParseExpectation(const Json& value) {
  Expectation e;
  if (!value.is_object()) {
    ASSIGN_OR_RETURN(e.texts, Texts(value));
    return e;
  }
  if (value.contains("exact") || value.contains("contains")) {
    const bool exact = value.contains("exact");
    e.kind = exact ? ExpectationKind::kExact : ExpectationKind::kContains;
    ASSIGN_OR_RETURN(e.texts, Texts(value[exact ? "exact" : "contains"]));
  } else if (value.contains("number") && value["number"].is_number()) {
    e.kind = ExpectationKind::kNumber;
    e.number = value["number"].get<double>();
    if (value.contains("tolerance")) {
      if (!value["tolerance"].is_number()) return Error{"\"tolerance\" must be a number"};
      e.tolerance = value["tolerance"].get<double>();
    }
  } else if (value.contains("regex") && value["regex"].is_string()) {
    e.kind = ExpectationKind::kRegex;
    e.texts = {value["regex"].get<std::string>()};
    try {
      std::regex check(e.texts[0]);
    } catch (const std::regex_error& error) {
      return Error{"\"regex\" is no regular expression: " + std::string(error.what())};
    }
  } else if (value.contains("schema")) {
    e.kind = ExpectationKind::kSchema;
    e.texts = {value["schema"].dump()};
    RETURN_IF_ERROR(CheckSchema(e.texts[0]));
  } else {
    return Error{
        "\"expected\" must be a text, a list of texts, or one of exact, contains, number, regex, "
        "schema"};
  }
  return e;
}

// "[1] first\n[2] second", as the server numbers the documents of a request.
std::string Numbered(const Json& documents) {
  const auto member = [](const Json& document, const char* name) -> std::string {
    const bool there =
        document.is_object() && document.contains(name) && document[name].is_string();
    return there ? document[name].get<std::string>() : "";
  };
  std::string text;
  for (size_t i = 0; i < documents.size(); ++i) {
    const Json& d = documents[i];
    if (i > 0) text += '\n';
    text += NumberedLine(i + 1, member(d, "title"),
                         d.is_string() ? d.get<std::string>() : member(d, "text"));
  }
  return text;
}

// Puts the documents behind the system message, or makes one of them.
void AddDocuments(const Json& documents, Json& messages) {
  const std::string text = Numbered(documents);
  if (!messages.empty() && messages[0].value("role", "") == "system" &&
      messages[0].contains("content") && messages[0]["content"].is_string()) {
    messages[0]["content"] = messages[0].value("content", "") + "\n\n" + text;
  } else {
    messages.insert(messages.begin(), Json{{"role", "system"}, {"content", text}});
  }
}

Status ParsePrompt(const Json& line, TaskItem& item) {
  const bool has_documents =
      line.contains("documents") && line["documents"].is_array() && !line["documents"].empty();
  if (line.contains("messages")) {
    if (!line["messages"].is_array() || line["messages"].empty())
      return Error{"\"messages\" must be a list of messages"};
    Json messages = line["messages"];
    for (const Json& m : messages) {
      if (!m.is_object() || !m.contains("content") || !m["content"].is_string())
        return Error{"every message needs a \"role\" and a \"content\" text"};
    }
    if (has_documents) AddDocuments(line["documents"], messages);
    item.messages = messages.dump();
    return {};
  }
  if (!line.contains("prompt") || !line["prompt"].is_string())
    return Error{"a question needs \"messages\" or \"prompt\""};
  item.prompt = line["prompt"].get<std::string>();
  if (has_documents) item.prompt = Numbered(line["documents"]) + "\n\n" + item.prompt;
  return {};
}

Result<TaskItem> ParseLine(const Json& line) {
  if (!line.is_object()) return Error{"it is no JSON object"};
  TaskItem item;
  RETURN_IF_ERROR(ParsePrompt(line, item));
  if (!line.contains("expected")) return Error{"\"expected\" is missing"};
  ASSIGN_OR_RETURN(item.expected, ParseExpectation(line["expected"]));
  if (line.contains("id"))
    item.id = line["id"].is_string() ? line["id"].get<std::string>() : line["id"].dump();
  return item;
}

// The last number in the text, as people put the answer last.
std::optional<double> LastNumber(std::string_view text) {
  std::optional<double> last;
  for (size_t i = 0; i < text.size();) {
    const bool begins = std::isdigit(static_cast<unsigned char>(text[i])) != 0 ||
                        ((text[i] == '-' || text[i] == '.') && i + 1 < text.size() &&
                         std::isdigit(static_cast<unsigned char>(text[i + 1])) != 0);
    if (!begins) {
      ++i;
      continue;
    }
    std::string digits;
    size_t end = i;
    for (; end < text.size(); ++end) {  // commas between thousands
      const char c = text[end];
      const bool comma = c == ',' && end + 3 < text.size() &&
                         std::isdigit(static_cast<unsigned char>(text[end + 1])) != 0;
      if (comma) continue;
      if (std::isdigit(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '-' && c != 'e' &&
          c != 'E') {
        break;
      }
      digits += c;
    }
    double value = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (parsed.ec == std::errc()) last = value;
    i = std::max(end, i + 1);
  }
  return last;
}

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isalnum(u) != 0 || u >= 0x80) {
      words.back() += static_cast<char>(std::tolower(u));
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

}  // namespace

Result<Expectation> ParseExpected(std::string_view json) {
  const Json value = Json::parse(json, nullptr, false);
  if (value.is_discarded()) return Error{"\"expected\" is no JSON"};
  return ParseExpectation(value);
}

std::string WithDocuments(std::string_view messages, std::span<const std::string> documents) {
  Json list = Json::parse(messages);
  if (!documents.empty()) AddDocuments(Json(documents), list);
  return list.dump();
}

Result<std::vector<TaskItem>> ParseTask(std::string_view jsonl, const std::string& name) {
  std::vector<TaskItem> items;
  std::map<std::string, int32_t> groups;
  int line_number = 0;
  for (size_t at = 0; at < jsonl.size();) {
    const size_t end = std::min(jsonl.find('\n', at), jsonl.size());
    const std::string_view line = Trimmed(jsonl.substr(at, end - at));
    at = end + 1;
    ++line_number;
    if (line.empty()) continue;
    const Json parsed = Json::parse(line, nullptr, false);
    auto item =
        parsed.is_discarded() ? Result<TaskItem>(Error{"it is no JSON"}) : ParseLine(parsed);
    if (!item.ok()) {
      return Error{name + ", line " + std::to_string(line_number) + ": " + item.error().message};
    }
    std::string group = "line " + std::to_string(line_number);
    if (parsed.contains("group")) group = "group " + parsed["group"].dump();
    item->cluster = groups.try_emplace(group, static_cast<int32_t>(groups.size())).first->second;
    if (item->id.empty()) item->id = std::to_string(items.size() + 1);
    items.push_back(std::move(*item));
  }
  if (items.empty()) return Error{name + " holds no questions"};
  return items;
}

Judgement Judge(const Expectation& expected, std::string_view answer) {
  const std::string_view said = Trimmed(answer);
  Judgement judgement;
  switch (expected.kind) {
    case ExpectationKind::kExact:
    case ExpectationKind::kContains:
      for (const std::string& text : expected.texts) {
        const std::string_view wanted = Trimmed(text);
        const bool right = expected.kind == ExpectationKind::kExact
                               ? said == wanted
                               : said.find(wanted) != std::string_view::npos;
        judgement.right = judgement.right || right;
        judgement.f1 = std::max(judgement.f1, TokenF1(wanted, said));
      }
      return judgement;
    case ExpectationKind::kNumber: {
      const auto number = LastNumber(said);
      judgement.right =
          number && std::fabs(*number - expected.number) <= expected.tolerance + 1e-12;
      break;
    }
    case ExpectationKind::kRegex:
      judgement.right = std::regex_search(said.begin(), said.end(), std::regex(expected.texts[0]));
      break;
    case ExpectationKind::kSchema:
      judgement.right = FitsSchema(expected.texts[0], said);
      break;
  }
  judgement.f1 = judgement.right ? 1 : 0;
  return judgement;
}

double TokenF1(std::string_view expected, std::string_view answer) {
  const std::vector<std::string> wanted = Words(expected), said = Words(answer);
  if (wanted.empty() || said.empty()) return wanted.empty() && said.empty() ? 1 : 0;
  std::map<std::string, int> left;
  for (const std::string& w : wanted) ++left[w];
  int common = 0;
  for (const std::string& w : said) {
    if (left[w]-- > 0) ++common;
  }
  if (common == 0) return 0;
  const double precision = common / static_cast<double>(said.size());
  const double recall = common / static_cast<double>(wanted.size());
  return 2 * precision * recall / (precision + recall);
}

std::string_view AnswerText(const Expectation& expected) {
  const bool text = expected.kind == ExpectationKind::kExact;
  return text && !expected.texts.empty() ? std::string_view(expected.texts[0]) : std::string_view();
}

}  // namespace millrace
