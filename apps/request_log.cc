#include "request_log.h"

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>
#include <vector>

namespace millrace {
namespace {

using Value = std::variant<std::string, int64_t, double, bool>;
using Member = std::pair<std::string, Value>;

// What a line says, in order.
std::vector<Member> MembersOf(const RequestRecord& r) {
  std::vector<Member> members = {{"id", r.id},
                                 {"route", r.route},
                                 {"status", int64_t{r.status}},
                                 {"end", std::string(NameOf(r.end))}};
  if (!r.trace_id.empty()) {
    members.emplace_back("trace_id", r.trace_id);
    members.emplace_back("parent_span_id", r.parent_span_id);
  }
  if (!r.key.empty()) members.emplace_back("key", r.key);
  if (r.generation) {
    const RequestRecord::GenerationPart& g = *r.generation;
    if (!g.adapter.empty()) members.emplace_back("adapter", g.adapter);
    members.insert(members.end(), {{"finish", g.finish_reasons},
                                   {"stream", g.stream},
                                   {"choices", int64_t{g.choices}},
                                   {"prompt_tokens", g.usage.prompt_tokens},
                                   {"output_tokens", g.usage.completion_tokens},
                                   {"first_token_ms", g.first_token_ms}});
    for (const LedgerEntry& entry : LedgerOf(g.usage)) {
      std::visit([&](auto value) { members.emplace_back(entry.name, value); }, entry.value);
    }
  }
  members.emplace_back("total_ms", r.total_ms);
  return members;
}

std::string AsJson(const Value& value) {
  const auto dump = [](const auto& v) {
    return nlohmann::json(v).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  };
  if (const double* number = std::get_if<double>(&value)) return fmt::format("{:.3f}", *number);
  return std::visit(dump, value);
}

std::string AsText(const Value& value) {
  if (const double* number = std::get_if<double>(&value)) return fmt::format("{:.1f}", *number);
  if (const auto* text = std::get_if<std::string>(&value)) {
    // Bare where nothing in it needs quotes.
    const bool bare = !text->empty() && text->find_first_of(" \"\\=\r\n\t") == std::string::npos;
    return bare ? *text : AsJson(value);
  }
  return AsJson(value);
}

// %*: the message as members of a JSON object. A request's are that already.
class MessageMembers : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const std::string_view text(message.payload.data(), message.payload.size());
    const bool is_request = message.logger_name == kRequests;
    const std::string members =
        is_request ? "\"event\":\"request\"," + std::string(text)
                   : "\"event\":\"message\",\"message\":" + AsJson(Value(std::string(text)));
    out.append(members.data(), members.data() + members.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<MessageMembers>();
  }
  static constexpr const char* kRequests = "requests";
};

}  // namespace

std::string RequestLine(const RequestRecord& record, LogFormat format) {
  std::string line;
  for (const auto& [name, value] : MembersOf(record)) {
    if (format == LogFormat::kJson) {
      line += fmt::format("{}\"{}\":{}", line.empty() ? "" : ",", name, AsJson(value));
    } else {
      line += fmt::format("{}{}={}", line.empty() ? "" : " ", name, AsText(value));
    }
  }
  return line;
}

void SetUpLog(LogFormat format, const std::string& level) {
  // Flushed per message, but requests' lines in batches: under a flood of refusals, a system call
  // for each (and a wake-up of who reads) would take time from the answers.
  auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(std::cout);
  if (format == LogFormat::kJson) {
    auto formatter = std::make_unique<spdlog::pattern_formatter>();
    formatter->add_flag<MessageMembers>('*').set_pattern(
        R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%*})");
    sink->set_formatter(std::move(formatter));
  }
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("", sink));
  spdlog::flush_on(spdlog::level::trace);
  spdlog::register_logger(std::make_shared<spdlog::logger>(MessageMembers::kRequests, sink));
  spdlog::get(MessageMembers::kRequests)->flush_on(spdlog::level::off);
  spdlog::set_level(spdlog::level::from_str(level));
}

void FlushRequests() { spdlog::get(MessageMembers::kRequests)->flush(); }

std::function<void(const RequestRecord&)> RequestLogger(LogFormat format) {
  const char* prefix = format == LogFormat::kText ? "request " : "";
  return [format, prefix,
          logger = spdlog::get(MessageMembers::kRequests)](const RequestRecord& record) {
    logger->info("{}{}", prefix, RequestLine(record, format));
  };
}

}  // namespace millrace
