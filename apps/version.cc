#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "verbs.h"

namespace millrace {

void AddVersionVerb(CLI::App& app, int& /*exit_code*/) {
  auto* verb = app.add_subcommand("version", "Print the version");
  auto json = std::make_shared<bool>(false);
  verb->add_flag("--json", *json, "as JSON");
  verb->callback([json] {
    if (*json) {
      std::puts(nlohmann::ordered_json({{"version", MILLRACE_VERSION}, {"compiler", __VERSION__}})
                    .dump()
                    .c_str());
    } else {
      std::puts("millrace " MILLRACE_VERSION);
    }
  });
}

}  // namespace millrace
