// millrace config show: what `serve` would run with, and where each value comes from.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "command_line.h"
#include "verbs.h"

namespace millrace {
namespace {

struct ConfigFlags {
  std::string action;
  bool json = false;
};

// API keys are not for the screen.
std::string Shown(const FlagValue& value) {
  return value.name == "--api-key" && !value.value.empty() ? "(hidden)" : value.value;
}

Status ShowConfig(const CommandLine& line, const ConfigFlags& flags) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const FlagValue& value : line.ValuesOf("serve")) {
    out[value.name] = {{"value", Shown(value)}, {"origin", value.origin}};
    if (!flags.json) fmt::print("{:<26} {:<20} {}\n", value.name, Shown(value), value.origin);
  }
  if (flags.json) std::puts(out.dump(2).c_str());
  return {};
}

}  // namespace

void AddConfigVerb(CommandLine& line) {
  auto flags = std::make_shared<ConfigFlags>();
  Verb verb = line.AddVerb(
      "config",
      "What serve would run with, and where each value comes from; its flags win over all");
  verb.Option("action", flags->action, "show").Required().OneOf({"show"});
  verb.Switch("--json", flags->json, "as JSON");
  verb.OnParsed([flags, &line] { return ShowConfig(line, *flags); });
}

}  // namespace millrace
