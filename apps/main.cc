// millrace VERB: the command line. Each verb is a file of its own; this one only puts them
// together.
#include "command_line.h"
#include "verbs.h"

int main(int argc, char** argv) {
  millrace::CommandLine line(
      "millrace",
      "Millrace serves GGUF language models over the OpenAI API, and measures what each "
      "optimisation is worth.");
  line.AllowConfigFile(
      "a TOML file with these flags; flags and MILLRACE_... variables win over it");
  millrace::AddServeVerb(line);
  millrace::AddRunVerb(line);
  millrace::AddBenchVerb(line);
  millrace::AddTokenizeVerb(line);
  millrace::AddInspectVerb(line);
  millrace::AddDoctorVerb(line);
  millrace::AddQuantizeVerb(line);
  millrace::AddConvertVerb(line);
  millrace::AddPerplexityVerb(line);
  millrace::AddEvaluateVerb(line);
  millrace::AddCompareVerb(line);
  millrace::AddWorkloadVerb(line);
  millrace::AddMeasureVerb(line);
  millrace::AddReduceVerb(line);
  millrace::AddConfigVerb(line);
  millrace::AddCompletionVerb(line);
  millrace::AddManualVerb(line);
  millrace::AddIndexVerb(line);
  millrace::AddVersionVerb(line);
  return line.Run(argc, argv);
}
