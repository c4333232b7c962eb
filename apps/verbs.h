// The verbs of the command line: one small file each. Add...Verb registers a verb's flags and its
// callback; the callback writes the process's exit code (0: done, 1: failed at run time, 2: wrong
// usage).
#pragma once

namespace CLI {
class App;
}

namespace millrace {

void AddServeVerb(CLI::App& app, int& exit_code);
void AddRunVerb(CLI::App& app, int& exit_code);
void AddBenchVerb(CLI::App& app, int& exit_code);
void AddTokenizeVerb(CLI::App& app, int& exit_code);
void AddInspectVerb(CLI::App& app, int& exit_code);
void AddDoctorVerb(CLI::App& app, int& exit_code);
void AddQuantizeVerb(CLI::App& app, int& exit_code);
void AddPerplexityVerb(CLI::App& app, int& exit_code);
void AddEvaluateVerb(CLI::App& app, int& exit_code);
void AddCompareVerb(CLI::App& app, int& exit_code);
void AddVersionVerb(CLI::App& app, int& exit_code);

}  // namespace millrace
