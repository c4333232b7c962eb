#include "tests/end_to_end/evidence.h"

#include <fmt/format.h>

#include <array>
#include <random>
#include <span>
#include <string_view>
#include <vector>

namespace millrace {
namespace {

using Random = std::mt19937_64;

// By the generator's own numbers, as the standard's distributions differ between libraries.
size_t Below(Random& random, size_t count) { return static_cast<size_t>(random() % count); }

template <size_t kCount>
std::string Pick(Random& random, const std::array<std::string_view, kCount>& words) {
  return std::string(words[Below(random, kCount)]);
}

constexpr std::array<std::string_view, 8> kFirst = {"Anna", "Omar", "Lena", "Ravi",
                                                    "Mei",  "Nora", "Hugo", "Clara"};
constexpr std::array<std::string_view, 12> kOnset = {"b", "br", "d", "f",  "gr", "k",
                                                     "l", "m",  "n", "pr", "st", "v"};
constexpr std::array<std::string_view, 7> kVowel = {"a", "e", "i", "o", "u", "ai", "ou"};
constexpr std::array<std::string_view, 6> kCoda = {"n", "r", "l", "s", "rk", ""};
constexpr std::array<std::string_view, 6> kCountries = {"Brazil", "Kenya",   "Norway",
                                                        "Egypt",  "Vietnam", "Austria"};

std::string Name(Random& random) {
  std::string name;
  for (int syllables = 0; syllables < 2; ++syllables)
    name += Pick(random, kOnset) + Pick(random, kVowel);
  name += Pick(random, kCoda);
  name[0] = static_cast<char>(name[0] - 'a' + 'A');
  return name;
}

std::string Person(Random& random) { return Pick(random, kFirst) + " " + Name(random); }
std::string Country(Random& random) { return Pick(random, kCountries); }
std::string Thousands(Random& random) { return fmt::format("{} thousand", 11 + random() % 900); }
std::string People(Random& random) { return fmt::format("{} people", 10 + random() % 900); }

// One kind of fact: {0} is the entity, {1} the value.
struct Topic {
  std::string_view name;
  std::string (*value)(Random&);
  std::string_view statement;
  std::string_view question;
};

struct Kind {
  std::string_view opening;
  std::array<Topic, 3> topics;
};

constexpr std::array<Kind, 2> kKinds = {
    Kind{"{0} is a city.",
         {Topic{"mayor", Person, "The mayor of {0} is {1}.", "Who is the mayor of {0}?"},
          Topic{"country", Country, "{0} belongs to {1}.", "Which country does {0} belong to?"},
          Topic{"population", Thousands, "{0} has a population of {1}.",
                "How many people live in {0}?"}}},
    Kind{"The firm {0} makes batteries.",
         {Topic{"chief executive", Person, "{0} is led by {1}.", "Who leads {0}?"},
          Topic{"home city", Name, "{0} is based in {1}.", "Where is {0} based?"},
          Topic{"staff", People, "{0} employs {1}.", "How many people does {0} employ?"}}},
};

std::string Fill(std::string_view pattern, const std::string& entity, const std::string& value) {
  return fmt::format(fmt::runtime(pattern), entity, value);
}

}  // namespace

EvidenceQuestion MakeEvidenceQuestion(uint64_t seed, int passages) {
  Random random(seed);
  const auto asked = static_cast<int>(Below(random, static_cast<size_t>(passages)));
  const Kind& kind = kKinds[Below(random, kKinds.size())];
  EvidenceQuestion made;
  made.system = "You are a helpful assistant. Use only the evidence provided.\n";
  for (int i = 0; i < passages; ++i) {
    const std::string entity = Name(random);
    const size_t left_out = Below(random, kind.topics.size());
    const size_t asked_topic = (left_out + 1 + Below(random, 2)) % kind.topics.size();
    std::string text = Fill(kind.opening, entity, "");
    for (size_t t = 0; t < kind.topics.size(); ++t) {
      if (t == left_out) continue;
      const Topic& topic = kind.topics[t];
      const std::string value = topic.value(random);
      text += " " + Fill(topic.statement, entity, value);
      if (i != asked || t != asked_topic) continue;
      made.question = Fill(topic.question, entity, value);
      made.answer = fmt::format("The {} of {} is {}. [{}]", topic.name, entity, value, i + 1);
    }
    made.system += fmt::format("\n[{}] {}", i + 1, text);
  }
  return made;
}

}  // namespace millrace
