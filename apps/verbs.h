// The verbs of the command line: one small file each. Add...Verb registers a verb's flags and what
// it runs.
#pragma once

namespace millrace {

class CommandLine;

void AddServeVerb(CommandLine& line);
void AddRunVerb(CommandLine& line);
void AddBenchVerb(CommandLine& line);
void AddTokenizeVerb(CommandLine& line);
void AddInspectVerb(CommandLine& line);
void AddDoctorVerb(CommandLine& line);
void AddQuantizeVerb(CommandLine& line);
void AddConvertVerb(CommandLine& line);
void AddPerplexityVerb(CommandLine& line);
void AddEvaluateVerb(CommandLine& line);
void AddCompareVerb(CommandLine& line);
void AddWorkloadVerb(CommandLine& line);
void AddMeasureVerb(CommandLine& line);
void AddReduceVerb(CommandLine& line);
void AddConfigVerb(CommandLine& line);
void AddCompletionVerb(CommandLine& line);
void AddManualVerb(CommandLine& line);
void AddIndexVerb(CommandLine& line);
void AddVersionVerb(CommandLine& line);

}  // namespace millrace
