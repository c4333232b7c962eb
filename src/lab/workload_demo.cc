// The demo workload: retrieval traffic with known answers, made from the demo corpus.
#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "base/rng.h"
#include "lab/workload_generators.h"

namespace millrace {
namespace {

constexpr size_t kFewestPassages = 4;  // of a group: shorter prompts have no block to share
constexpr size_t kMostQuestions = 6;   // asked of a group
constexpr std::array<std::string_view, 4> kAskings = {
    "What is the {} of {}?", "Tell me the {} of {}.", "Please give the {} of {}.",
    "I need the {} of {}."};

struct Fact {
  std::string topic, entity, value;
};

// "The TOPIC of ENTITY is VALUE." in a passage's sentences; values may hold full stops ("4.1").
std::vector<Fact> FactsOf(const std::vector<std::string>& passages) {
  std::vector<Fact> facts;
  std::set<std::string> asked;
  for (size_t i = 0; i < passages.size(); ++i) {
    std::string_view text = passages[i];
    while (!text.empty()) {
      const size_t end = std::min(text.find(". "), text.size() - 1);
      const std::string_view sentence = text.substr(0, end);
      text.remove_prefix(std::min(end + 2, text.size()));
      const size_t of = sentence.find(" of "), is = sentence.find(" is ");
      if (!sentence.starts_with("The ") || of == sentence.npos || is == sentence.npos || of > is)
        continue;
      Fact fact{std::string(sentence.substr(4, of - 4)),
                std::string(sentence.substr(of + 4, is - of - 4)),
                std::string(sentence.substr(is + 4))};
      if (fact.topic.find(' ') != fact.topic.rfind(' ')) continue;  // some other sentence
      if (asked.insert(fact.topic + '\n' + fact.entity).second) facts.push_back(std::move(fact));
    }
  }
  return facts;
}

// The first message's text (the system's) and the passages of one line; nothing where it is short.
struct Group {
  nlohmann::json system;
  std::vector<std::string> passages;
  std::vector<Fact> facts;
};

}  // namespace

Result<Workload> DemoWorkload(std::string_view task_jsonl, size_t requests, uint64_t seed) {
  ASSIGN_OR_RETURN(const Workload task, ParseWorkload(task_jsonl, {.format = "millrace"}));
  std::vector<Group> groups;
  size_t questions = 0;
  for (const WorkloadRequest& item : task.requests) {
    if (questions >= requests) break;
    if (item.documents.size() < kFewestPassages) continue;
    Group group{nlohmann::json::parse(item.messages)[0], item.documents, FactsOf(item.documents)};
    if (group.facts.size() < 2) continue;
    if (group.facts.size() > kMostQuestions) group.facts.resize(kMostQuestions);
    questions += group.facts.size();
    groups.push_back(std::move(group));
  }
  if (questions < requests) {
    return Error{
        fmt::format("the demo corpus holds {} questions of this kind: ask for no more", questions)};
  }
  Workload workload;
  workload.format = "demo";
  CounterRng rng(seed, 0xde30);
  std::vector<size_t> open(groups.size());
  for (size_t i = 0; i < open.size(); ++i) open[i] = i;
  // A few groups are talked about at a time: as on a busy day, and so that a small cache can help.
  constexpr size_t kAtOnce = 8;
  while (workload.requests.size() < requests) {
    const size_t pick = static_cast<size_t>(rng.NextU64() % std::min(kAtOnce, open.size()));
    Group& group = groups[open[pick]];
    const Fact fact = group.facts.back();
    group.facts.pop_back();
    WorkloadRequest r;
    r.group = fmt::format("passages {}", open[pick]);
    const std::string question = fmt::format(
        fmt::runtime(kAskings[rng.NextU64() % kAskings.size()]), fact.topic, fact.entity);
    r.messages = nlohmann::json{group.system, {{"role", "user"}, {"content", question}}}.dump();
    r.documents = group.passages;
    // Without the number of the passage, which depends on what a reduced prompt keeps.
    r.expected = nlohmann::json{{"contains", fmt::format("The {} of {} is {}.", fact.topic,
                                                         fact.entity, fact.value)}}
                     .dump();
    workload.requests.push_back(std::move(r));
    if (group.facts.empty()) open.erase(open.begin() + static_cast<std::ptrdiff_t>(pick));
  }
  return workload;
}

}  // namespace millrace
