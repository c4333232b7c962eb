#include "lab/lab_switch.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/check.h"

namespace millrace {
namespace {

constexpr LabSwitch kSwitches[] = {
    {"prefix reuse", "prefix-cache", "on", "off", "on", AnswerEffect::kNone},
    {"speculation", "speculate", "auto", "off", "auto", AnswerEffect::kNone},
    {"continuous batching", "batching", "continuous", "static", "continuous", AnswerEffect::kNone},
    {"paged KV memory", "kv", "paged", "contiguous", "paged", AnswerEffect::kNone},
    {"efficient attention", "attention", "flash", "standard", "flash", AnswerEffect::kPrecision},
    {"prompt reduction", "reduce", "auto", "off", "auto", AnswerEffect::kPrompt},
    {"8-bit KV cache", "kv-type", "q8_0", "bf16", "bf16", AnswerEffect::kPrecision},
};

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace

std::span<const LabSwitch> LabSwitches() { return kSwitches; }

std::vector<std::string> FlagsOf(const LabConfiguration& configuration, const SwitchList& list) {
  CHECK(configuration.on.size() == list.size());
  std::vector<std::string> flags;
  for (size_t i = 0; i < list.size(); ++i) {
    flags.push_back(fmt::format("--{}", list[i]->flag));
    flags.emplace_back(configuration.on[i] ? list[i]->on : list[i]->off);
  }
  return flags;
}

std::string TomlOf(const LabConfiguration& configuration, const SwitchList& list,
                   const std::string& model, const std::string& comment) {
  std::string toml;
  std::string_view rest = comment;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    toml += fmt::format("# {}\n", rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  toml += "[serve]\n";
  const std::string& file = configuration.model.empty() ? model : configuration.model;
  if (!file.empty()) toml += fmt::format("model = {}\n", Quoted(file));
  for (size_t i = 0; i < list.size(); ++i) {
    toml += fmt::format("{} = \"{}\"\n", list[i]->flag,
                        configuration.on[i] ? list[i]->on : list[i]->off);
  }
  return toml;
}

int DistanceFromServed(const LabConfiguration& configuration, const SwitchList& list) {
  int distance = configuration.model.empty() ? 0 : 1;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string_view now = configuration.on[i] ? list[i]->on : list[i]->off;
    if (now != list[i]->served) ++distance;
  }
  return distance;
}

AnswerEffect AnswerEffectBetween(const LabConfiguration& a, const LabConfiguration& b,
                                 const SwitchList& list) {
  AnswerEffect most = a.model != b.model ? AnswerEffect::kPrecision : AnswerEffect::kNone;
  for (size_t i = 0; i < list.size(); ++i) {
    if (a.on[i] != b.on[i]) most = std::max(most, list[i]->answers);
  }
  return most;
}

}  // namespace millrace
