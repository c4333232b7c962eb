#include "lab/server_counters.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

namespace millrace {
namespace {

constexpr std::chrono::seconds kPatience{10};

std::optional<double> NumberOf(std::string_view text) {
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::optional<double> Growth(const ServerCounters& before, const ServerCounters& after,
                             std::string_view name) {
  const auto from = before.find(name), to = after.find(name);
  if (from == before.end() || to == after.end()) return std::nullopt;
  return to->second - from->second;
}

}  // namespace

ServerCounters ParseCounters(std::string_view text) {
  ServerCounters counters;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with('#')) continue;
    const size_t name_end = line.find_first_of("{ ");
    const size_t labels_end = line.rfind('}');
    const size_t value = line.find(' ', labels_end == line.npos ? 0 : labels_end);
    if (name_end == line.npos || value == line.npos) continue;
    const auto number = NumberOf(line.substr(value + 1));
    if (number) counters[std::string(line.substr(0, name_end))] += *number;
  }
  return counters;
}

namespace {

Result<std::string> Get(uint16_t port, const std::string& path) {
  namespace asio = boost::asio;
  namespace http = boost::beast::http;
  asio::io_context context;
  boost::beast::tcp_stream stream(context);
  http::request<http::empty_body> request(http::verb::get, path, 11);
  request.set(http::field::host, "127.0.0.1");
  http::response<http::string_body> response;
  boost::beast::flat_buffer buffer;
  boost::system::error_code failure;
  const auto finished = [&failure](boost::system::error_code error, auto&&...) { failure = error; };
  // Each step by itself, so that its deadline holds.
  const auto wait = [&] {
    context.restart();
    context.run();
    return !failure;
  };
  stream.expires_after(kPatience);
  stream.async_connect({asio::ip::address_v4::loopback(), port}, finished);
  bool ok = wait();
  if (ok) {
    http::async_write(stream, request, finished);
    ok = wait();
  }
  if (ok) {
    http::async_read(stream, buffer, response, finished);
    ok = wait();
  }
  if (!ok) return Error{"cannot read " + path + ": " + failure.message(), ErrorKind::kInternal};
  if (response.result() != http::status::ok) {
    return Error{fmt::format("{} answers with status {}", path, response.result_int()),
                 ErrorKind::kInternal};
  }
  return std::move(response.body());
}

}  // namespace

Result<ServerCounters> ReadCounters(uint16_t port) {
  ASSIGN_OR_RETURN(const std::string text, Get(port, "/metrics"));
  return ParseCounters(text);
}

Result<std::map<std::string, double>> ReadEstimates(uint16_t port) {
  ASSIGN_OR_RETURN(const std::string text, Get(port, "/v1/insights"));
  const nlohmann::json insights = nlohmann::json::parse(text, nullptr, false);
  const auto wrong = [] {
    return Error{"/v1/insights says something else than estimates", ErrorKind::kInternal};
  };
  if (!insights.is_object() || !insights.contains("request_time")) return wrong();
  std::map<std::string, double> estimates;
  for (const nlohmann::json& one : insights["request_time"]) {
    if (!one.is_object() || !one.value("switch", nlohmann::json()).is_string() ||
        !one.value("ratio", nlohmann::json()).is_number()) {
      return wrong();
    }
    estimates[one["switch"]] = one["ratio"];
  }
  return estimates;
}

std::map<std::string, double> MetricsBetween(const ServerCounters& before,
                                             const ServerCounters& after) {
  std::map<std::string, double> metrics;
  const auto growth = [&](const char* name) {
    return Growth(before, after, std::string("millrace:") + name);
  };
  const auto take = [&](const char* as, const char* name, double unit) {
    if (const auto value = growth(name)) metrics[as] = *value / unit;
  };
  take("attention_seconds", "attention_seconds_total", 1);
  take("attention_mib", "attention_intermediate_bytes_total", 1 << 20);
  take("preemptions", "preemptions_total", 1);
  const double held = growth("kv_held_slot_steps_total").value_or(0);
  if (held > 0) {
    take("kv_unused_percent", "kv_unused_slot_steps_total", held / 100);
    take("kv_unusable_percent", "kv_unusable_slot_steps_total", held / 100);
  }
  if (const auto set_aside = after.find("millrace:kv_memory_bytes"); set_aside != after.end()) {
    metrics["kv_memory_mib"] = set_aside->second / (1 << 20);
  }
  return metrics;
}

}  // namespace millrace
