// millrace VERB: the command line. Each verb is a file of its own; this one only puts them
// together.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "verbs.h"

int main(int argc, char** argv) {
  CLI::App app{
      "Millrace serves GGUF language models over the OpenAI API, and measures what each "
      "optimisation is worth."};
  app.name("millrace");
  app.require_subcommand(1);
  app.set_config("--config", "",
                 "a TOML file with these flags; flags and MILLRACE_... variables win over it");
  int exit_code = 0;
  millrace::AddServeVerb(app, exit_code);
  millrace::AddRunVerb(app, exit_code);
  millrace::AddBenchVerb(app, exit_code);
  millrace::AddTokenizeVerb(app, exit_code);
  millrace::AddInspectVerb(app, exit_code);
  millrace::AddDoctorVerb(app, exit_code);
  millrace::AddQuantizeVerb(app, exit_code);
  millrace::AddPerplexityVerb(app, exit_code);
  millrace::AddEvaluateVerb(app, exit_code);
  millrace::AddCompareVerb(app, exit_code);
  millrace::AddVersionVerb(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const int code = app.exit(e);
    return code == 0 ? 0 : 2;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr,
                 "millrace: out of memory: lower --context, --max-running or --kv-memory\n");
    return 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "millrace: %s\n", e.what());
    return 1;
  }
  return exit_code;
}
