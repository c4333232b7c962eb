// /metrics says what the answers' usage says, under both sets of names; the log line and the ledger
// agree with it.
#include <cmath>
#include <map>
#include <sstream>

#include "server/server_test_util.h"

namespace millrace {
namespace {

using Samples = std::map<std::string, double>;

// "name{labels}" -> value.
Samples ParseMetrics(const std::string& text) {
  Samples samples;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.front() == '#') continue;
    const size_t space = line.rfind(' ');
    samples[line.substr(0, space)] = std::stod(line.substr(space + 1));
  }
  return samples;
}

constexpr const char* kHistograms[] = {
    "time_to_first_token_seconds", "inter_token_latency_seconds",  "e2e_request_latency_seconds",
    "request_queue_time_seconds",  "request_prefill_time_seconds", "request_decode_time_seconds"};

class MetricsTest : public ServerTest {
 protected:
  Samples Metrics() {
    const ClientResponse response = TestClient(port()).Get("/metrics");
    EXPECT_EQ(response.headers.at("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    return ParseMetrics(response.body);
  }

  // Posts, and adds up what the usage says.
  void Ask(const std::string& path, json request) {
    const int choices = request.value("n", 1);
    json body;
    if (request.value("stream", false)) {
      request["stream_options"] = {{"include_usage", true}};
      const std::vector<std::string> events = EventsOf(Post(path, request).body);
      ASSERT_GE(events.size(), 3u);
      body = json::parse(events[events.size() - 2]);
      for (const std::string& event : events) {
        if (event == "[DONE]") continue;
        const json chunk = json::parse(event);
        for (const json& choice : chunk["choices"]) CountReason(choice);
      }
    } else {
      const ClientResponse response = Post(path, request);
      ASSERT_EQ(response.status, 200) << response.body;
      body = json::parse(response.body);
      for (const json& choice : body["choices"]) CountReason(choice);
      ExpectHeaderIsTheLedger(response.headers.at("x-millrace-savings"), body["usage"]["millrace"]);
    }
    const json& usage = body["usage"];
    sequences_ += choices;
    prompt_tokens_ += usage["prompt_tokens"].get<int>();
    generated_ += usage["completion_tokens"].get<int>();
    const json& ledger = usage["millrace"];
    EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], ledger["cached_tokens"]);
    if (choices == 1) {
      queued_ += ledger["queued_ms"].get<double>() / 1000;
      prefill_ += ledger["prefill_ms"].get<double>() / 1000;
      decode_ += ledger["decode_ms"].get<double>() / 1000;
    }
  }
  void CountReason(const json& choice) {
    if (!choice["finish_reason"].is_null()) ++reasons_[choice["finish_reason"]];
  }
  static void ExpectHeaderIsTheLedger(const std::string& header, const json& ledger) {
    size_t members = 0;
    std::istringstream parts(header);
    for (std::string part; std::getline(parts, part, ';'); ++members) {
      const size_t begin = part.find_first_not_of(' ');
      const size_t equals = part.find('=');
      const std::string name = part.substr(begin, equals - begin);
      ASSERT_TRUE(ledger.contains(name)) << name;
      EXPECT_NEAR(std::stod(part.substr(equals + 1)), ledger[name].get<double>(), 0.0006) << name;
    }
    EXPECT_EQ(members, ledger.size());
  }

  static json LongPrompt() {
    json ids = json::array();
    for (int i = 0; i < 100; ++i) ids.push_back(1 + i % 7);
    return {{"prompt", ids}, {"max_tokens", 9}, {"temperature", 0}, {"ignore_eos", true}};
  }

  int sequences_ = 0, prompt_tokens_ = 0, generated_ = 0;
  double queued_ = 0, prefill_ = 0, decode_ = 0;
  std::map<std::string, int> reasons_;
};

TEST_F(MetricsTest, EqualWhatTheAnswersSay) {
  ServerConfig config;
  config.metric_names = MetricNames::kAlsoVllm;
  StartServer(std::move(config), milliseconds(1));
  json streamed = Chat(20);
  streamed["stream"] = true;
  json stopped = Chat(300);
  stopped["temperature"] = 0;
  const std::string text =
      json::parse(Post(kChatPath, stopped).body)["choices"][0]["message"]["content"];
  size_t at = text.size() / 2;
  while (at < text.size() && (text[at] < '!' || text[at] > '~')) ++at;
  ASSERT_LT(at, text.size());
  const Samples before = Metrics();
  EXPECT_EQ(before.at("millrace:generation_tokens_total"), 300);
  stopped["stop"] = json::array({std::string(1, text[at])});

  Ask(kChatPath, Chat());
  Ask(kChatPath, streamed);
  Ask(kChatPath, stopped);
  Ask(kTextPath, LongPrompt());
  Ask(kTextPath, LongPrompt());  // from the prefix cache
  EXPECT_EQ(Post(kChatPath, {{"messages", 3}}).status, 400);

  const Samples after = Metrics();
  const auto grown = [&](const std::string& name) {
    EXPECT_TRUE(after.contains(name)) << name;
    return after.contains(name) ? after.at(name) - before.at(name) : std::nan("");
  };
  EXPECT_EQ(grown("millrace:prompt_tokens_total"), prompt_tokens_);
  EXPECT_EQ(grown("millrace:generation_tokens_total"), generated_);
  EXPECT_EQ(grown("millrace:request_success_total{finished_reason=\"stop\"}"), reasons_["stop"]);
  EXPECT_EQ(grown("millrace:request_success_total{finished_reason=\"length\"}"),
            reasons_["length"]);
  EXPECT_EQ(reasons_["stop"], 1);
  EXPECT_EQ(grown("millrace:request_success_total{finished_reason=\"abort\"}"), 0);
  EXPECT_EQ(grown("millrace:http_requests_total{end=\"refused\"}"), 1);
  EXPECT_EQ(grown("millrace:prefix_cache_hits"), 99 + 2 + 2 + 2);  // the chats share a prompt of 3
  for (const std::string name : kHistograms) {
    const bool gaps = name == "inter_token_latency_seconds";
    EXPECT_EQ(grown("millrace:" + name + "_count"), gaps ? generated_ - sequences_ : sequences_);
  }
  EXPECT_NEAR(grown("millrace:request_queue_time_seconds_sum"), queued_, 1e-6);
  EXPECT_NEAR(grown("millrace:request_prefill_time_seconds_sum"), prefill_, 1e-6);
  EXPECT_NEAR(grown("millrace:request_decode_time_seconds_sum"), decode_, 1e-6);
  const double whole = grown("millrace:e2e_request_latency_seconds_sum");
  EXPECT_GE(whole, queued_ + prefill_ + decode_);
  EXPECT_GE(whole, grown("millrace:time_to_first_token_seconds_sum") +
                       grown("millrace:inter_token_latency_seconds_sum"));
}

TEST_F(MetricsTest, VllmNamesAreCopies) {
  ServerConfig config;
  config.metric_names = MetricNames::kAlsoVllm;
  StartServer(std::move(config));
  json several = Chat();
  several["n"] = 3;
  Ask(kChatPath, several);
  Ask(kTextPath, LongPrompt());
  const Samples all = Metrics();
  const double rows = all.at("millrace:computed_tokens_total");
  EXPECT_GT(rows, 0);
  EXPECT_NEAR(all.at("millrace:attention_seconds_total"), 1e-3 * rows, 1e-9);
  EXPECT_EQ(all.at("millrace:attention_intermediate_bytes_total"), 100 * rows);
  EXPECT_EQ(all.at("millrace:prompt_tokens_total"), prompt_tokens_);
  EXPECT_EQ(all.at("millrace:generation_tokens_total"), generated_);
  const auto same = [&](const std::string& ours, const std::string& theirs) {
    const std::string brace = theirs.ends_with('}') ? "," : "{";
    const std::string stem = theirs.ends_with('}') ? theirs.substr(0, theirs.size() - 1) : theirs;
    const std::string name = "vllm:" + stem + brace + "model_name=\"org/fake\"}";
    ASSERT_TRUE(all.contains(name)) << name;
    EXPECT_EQ(all.at(name), all.at("millrace:" + ours)) << name;
  };
  for (const char* name :
       {"num_requests_running", "num_requests_waiting", "kv_cache_usage_perc",
        "prefix_cache_queries", "prefix_cache_hits", "prompt_tokens_total",
        "generation_tokens_total", "request_success_total{finished_reason=\"stop\"}",
        "request_success_total{finished_reason=\"length\"}"}) {
    same(name, name);
  }
  same("preemptions_total", "num_preemptions_total");
  for (const std::string name : kHistograms) {
    same(name + "_count", name + "_count");
    same(name + "_sum", name + "_sum");
  }
}

TEST_F(MetricsTest, OwnNamesAlone) {
  StartServer();
  Ask(kTextPath, LongPrompt());
  const std::string text = TestClient(port()).Get("/metrics").body;
  EXPECT_EQ(text.find("vllm:"), std::string::npos);
  for (const std::string name : kHistograms) {
    EXPECT_NE(text.find("# TYPE millrace:" + name + " histogram\n"), std::string::npos);
    EXPECT_NE(text.find("\nmillrace:" + name + "_bucket{le=\"+Inf\"} "), std::string::npos);
  }
}

TEST_F(MetricsTest, WhoLeavesIsLoggedWithWhatItTook) {
  StartServer({}, milliseconds(2));
  json request = Chat(2000);
  request["stream"] = true;
  const std::string body = request.dump();
  {
    TestClient client(port());
    client.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    bool ended = false;
    ASSERT_EQ(client.ReadHead().status, 200);
    for (int i = 0; i < 3; ++i) client.ReadChunk(ended);
  }
  ASSERT_TRUE(Eventually([&] { return Records().size() == 1; }));
  const RequestRecord record = Records()[0];
  EXPECT_EQ(record.end, EndState::kCancelled);
  ASSERT_TRUE(record.generation);
  const RequestRecord::GenerationPart& part = *record.generation;
  EXPECT_EQ(part.finish_reasons, "abort");
  EXPECT_TRUE(part.stream);
  EXPECT_GT(part.usage.completion_tokens, 0);
  EXPECT_GE(part.usage.computed_tokens, 3 + part.usage.completion_tokens - 1);
  EXPECT_GT(part.usage.prefill_ms, 0);
  EXPECT_GT(part.usage.decode_ms, 0);
  EXPECT_GT(part.first_token_ms, 0);
  EXPECT_GE(record.total_ms, part.first_token_ms);
  EXPECT_GE(record.total_ms, part.usage.queued_ms + part.usage.prefill_ms + part.usage.decode_ms);
  const Samples samples = Metrics();
  EXPECT_EQ(samples.at("millrace:request_success_total{finished_reason=\"abort\"}"), 1);
  EXPECT_EQ(samples.at("millrace:http_requests_total{end=\"cancelled\"}"), 1);
  EXPECT_EQ(samples.at("millrace:e2e_request_latency_seconds_count"), 0);
  EXPECT_EQ(samples.at("millrace:prompt_tokens_total"), 3);
  EXPECT_EQ(samples.at("millrace:generation_tokens_total"),
            static_cast<double>(part.usage.completion_tokens));
}

TEST_F(MetricsTest, AStreamHasTheLedgerInItsTrailer) {
  StartServer();
  json request = Chat();
  request["stream"] = true;
  request["stream_options"] = {{"include_usage", true}};
  const std::string body = request.dump();
  TestClient client(port());
  client.Send(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nConnection: close, TE\r\n"
      "TE: trailers\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body);
  const std::string answer = client.ReadToEnd();
  constexpr std::string_view kName = "\r\n0\r\nx-millrace-savings: ";
  const size_t trailer = answer.find(kName);
  ASSERT_NE(trailer, std::string::npos) << answer;
  const std::string ledger = answer.substr(trailer + kName.size());
  ASSERT_TRUE(ledger.ends_with("\r\n\r\n"));
  const size_t usage = answer.find("{\"id\"", answer.rfind("data: {"));
  const json chunk = json::parse(answer.substr(usage, answer.find('\n', usage) - usage));
  ExpectHeaderIsTheLedger(ledger.substr(0, ledger.size() - 4), chunk["usage"]["millrace"]);
}

TEST_F(MetricsTest, TheLedgerSaysWhatTheCacheSaved) {
  row_time_ = std::chrono::microseconds(100);
  StartServer();
  // What prefill costs is known once it has been seen beside decoding.
  Post(kTextPath, LongPrompt());
  json other = LongPrompt();
  other["cache_salt"] = "another";
  Post(kTextPath, other);
  other["cache_salt"] = "a third";
  const json cold = json::parse(Post(kTextPath, other).body)["usage"]["millrace"];
  const json warm = json::parse(Post(kTextPath, LongPrompt()).body)["usage"]["millrace"];
  EXPECT_EQ(cold["cached_saved_ms"], 0.0);
  EXPECT_EQ(warm["cached_tokens"], 99);
  EXPECT_GT(warm["cached_saved_ms"], 0.0);
  EXPECT_EQ(warm["recomputed_tokens"], 0);
  EXPECT_EQ(warm["recomputed_cost_ms"], 0.0);
}

}  // namespace
}  // namespace millrace
