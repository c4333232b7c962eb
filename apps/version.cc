#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "command_line.h"
#include "verbs.h"

namespace millrace {

void AddVersionVerb(CommandLine& line) {
  Verb verb = line.AddVerb("version", "Print the version");
  auto json = std::make_shared<bool>(false);
  verb.Switch("--json", *json, "as JSON");
  verb.OnParsed([json]() -> Status {
    if (*json) {
      std::puts(nlohmann::ordered_json({{"version", MILLRACE_VERSION}, {"compiler", __VERSION__}})
                    .dump()
                    .c_str());
    } else {
      std::puts("millrace " MILLRACE_VERSION);
    }
    return {};
  });
}

}  // namespace millrace
