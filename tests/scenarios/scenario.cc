#include "tests/scenarios/scenario.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "http/test_client.h"
#include "tests/end_to_end/evidence.h"

namespace millrace {

using nlohmann::json;

bool IsFull() {
  const char* size = std::getenv("MILLRACE_SCENARIOS");
  return size != nullptr && std::string(size) == "full";
}

json EvidenceChat(uint64_t seed, int passages, int max_tokens) {
  const EvidenceQuestion question = MakeEvidenceQuestion(seed, passages);
  return {{"messages", json::array({{{"role", "system"}, {"content", question.system}},
                                    {{"role", "user"}, {"content", question.question}}})},
          {"temperature", 0},
          {"max_tokens", max_tokens},
          {"ignore_eos", true}};
}

std::map<std::string, double> ReadMetrics(uint16_t port) {
  std::map<std::string, double> samples;
  std::istringstream lines(TestClient(port).Get("/metrics").body);
  for (std::string line; std::getline(lines, line);) {
    const size_t space = line.rfind(' ');
    if (line.empty() || line.front() == '#' || space == std::string::npos) continue;
    samples[line.substr(0, space)] = std::stod(line.substr(space + 1));
  }
  return samples;
}

std::map<std::string, json> RequestLines(const ServerProcess& server) {
  std::map<std::string, json> lines;
  for (const std::string& line : server.Log()) {
    const json parsed = json::parse(line, nullptr, false);
    if (parsed.is_discarded()) {
      ADD_FAILURE() << "not a line of JSON: " << line;
      continue;
    }
    if (parsed.value("event", "") != "request") continue;
    EXPECT_TRUE(lines.emplace(parsed["id"], parsed).second) << "logged twice: " << line;
  }
  return lines;
}

double Quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto at = static_cast<size_t>(share * static_cast<double>(values.size()));
  return values[std::min(at, values.size() - 1)];
}

}  // namespace millrace
