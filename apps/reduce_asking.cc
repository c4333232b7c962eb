#include "reduce_asking.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <utility>

#include "lab/replay.h"
#include "lab/request_body.h"
#include "lab/server_child.h"

namespace millrace {
namespace {

using AskingJson = nlohmann::ordered_json;

constexpr size_t kReduceWarmUps = 4;
constexpr char kStoreName[] = "study";

enum class Pass { kCold, kCached };

// One question under one setting.
struct Ask {
  size_t setting;
  size_t question;
};

ReplayRequest RequestOf(const AskingOptions& options, const StudySetting& setting,
                        const StudyQuestion& question, Pass pass) {
  AskingJson body;
  body["messages"] = AskingJson::array();
  if (!options.system.empty())
    body["messages"].push_back({{"role", "system"}, {"content", options.system}});
  body["messages"].push_back({{"role", "user"}, {"content", question.question}});
  body["temperature"] = 0;
  body["max_tokens"] = options.max_tokens;
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  body["millrace"] = {{"reduce", setting.name}};
  if (pass == Pass::kCold) body["millrace"]["prefix_cache"] = "off";
  body["cache_salt"] = setting.name;
  if (options.store.empty()) {
    body["documents"] = AskingJson::array();
    for (const Passage& p : question.documents)
      body["documents"].push_back({{"id", p.id}, {"title", p.title}, {"text", p.text}});
  } else {
    body["millrace"]["store"] = kStoreName;
  }
  return {.path = "/v1/chat/completions",
          .body = body.dump(-1, ' ', false, AskingJson::error_handler_t::replace)};
}

std::vector<Ask> RandomOrder(const AskingOptions& options, size_t settings) {
  std::mt19937_64 random(options.seed);
  std::vector<Ask> asks;
  for (size_t q = 0; q < options.questions; ++q) {
    const auto begin = static_cast<std::ptrdiff_t>(asks.size());
    for (size_t s = 0; s < settings; ++s) asks.push_back({s, q});
    std::shuffle(asks.begin() + begin, asks.end(), random);
  }
  return asks;
}

double FirstTokenMs(const ReplayAnswer& answer) {
  return 1000 * (answer.emissions.front() - answer.sent);
}

std::vector<std::string> FlagsOf(const AskingOptions& options) {
  std::vector<std::string> flags;
  if (!options.model.empty()) flags.push_back(options.model);
  if (!options.store.empty()) {
    flags.emplace_back("--store");
    flags.push_back(std::string(kStoreName) + "=" + options.store);
  }
  if (!options.embedding_model.empty()) {
    flags.emplace_back("--embedding-model");
    flags.push_back(options.embedding_model);
  }
  std::istringstream more(options.serve_flags);
  for (std::string flag; more >> flag;) flags.push_back(flag);
  return flags;
}

}  // namespace

Result<int64_t> AskServer(const AskingOptions& options, const std::vector<StudySetting>& settings,
                          const std::vector<StudyQuestion>& questions, StudyOutcomes& outcomes) {
  if (options.questions == 0) return 0;
  const std::string log =
      (std::filesystem::temp_directory_path() / fmt::format("millrace-reduce-{}.log", getpid()))
          .string();
  ASSIGN_OR_RETURN(const auto server,
                   ServerChild::Start(std::filesystem::read_symlink("/proc/self/exe").string(),
                                      FlagsOf(options), log));
  std::filesystem::remove(log);
  ReplayOptions replay;
  replay.port = server->port();
  replay.clients = 1;
  ASSIGN_OR_RETURN(const ReplayRun begun,
                   ReplayRequests(WarmUpRequests(kReduceWarmUps, options.seed), replay));
  if (!begun.answers.front().ok()) {
    return Error{"the server does not answer: " + begun.answers.front().failure,
                 ErrorKind::kInternal};
  }
  const std::vector<Ask> asks = RandomOrder(options, settings.size());
  std::vector<ReplayRequest> cold_requests, cached_requests;
  for (const Ask& ask : asks) {
    const auto request = [&](Pass pass) {
      return RequestOf(options, settings[ask.setting], questions[ask.question], pass);
    };
    cold_requests.push_back(request(Pass::kCold));
    cached_requests.push_back(request(Pass::kCached));  // and at once again: the cache has bounds
    cached_requests.push_back(request(Pass::kCached));
  }
  ASSIGN_OR_RETURN(const ReplayRun cold_run, ReplayRequests(cold_requests, replay));
  ASSIGN_OR_RETURN(const ReplayRun cached_run, ReplayRequests(cached_requests, replay));
  server->Stop();
  int64_t failed = 0;
  for (size_t i = 0; i < asks.size(); ++i) {
    const ReplayAnswer& cold = cold_run.answers[i];
    const ReplayAnswer& reused = cached_run.answers[2 * i];
    const ReplayAnswer& warm = cached_run.answers[2 * i + 1];
    bool whole = true;
    for (const ReplayAnswer* answer : {&cold, &reused, &warm}) {
      const bool good = answer->ok() && !answer->emissions.empty();
      failed += good ? 0 : 1;
      whole = whole && good;
    }
    if (!whole) continue;
    const StudyQuestion& question = questions[asks[i].question];
    StudyOutcome::Asked asked;
    asked.prompt_tokens = cold.prompt_tokens;
    asked.reused_tokens = reused.cached_tokens;
    asked.cold_ms = FirstTokenMs(cold);
    asked.warm_ms = FirstTokenMs(warm);
    if (options.judge && question.expected) asked.judged = Judge(*question.expected, cold.text);
    outcomes[asks[i].setting][asks[i].question].asked = std::move(asked);
  }
  if (failed == static_cast<int64_t>(3 * asks.size())) {
    return Error{"every request failed, the first with: " + cold_run.answers[0].failure,
                 ErrorKind::kInternal};
  }
  return failed;
}

}  // namespace millrace
