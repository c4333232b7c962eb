// The command line: verbs and their flags, over CLI11. CLI11 itself is compiled in command_line.cc
// alone: it emits most of its code into every file that includes it, about 10 seconds each.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace millrace {

// One flag or positional, to be told more about; a handle, cheap to copy. What is out of range is a
// usage error that names the flag and the range.
class Flag {
 public:
  explicit Flag(CLI::Option* option) : option_(option) {}

  Flag& Env(const char* variable);  // where the flag is not given
  Flag& ShowDefault();              // in --help
  Flag& Range(int64_t low, int64_t high);
  Flag& RealRange(double low, double high);
  Flag& Positive();
  Flag& NonNegative();
  Flag& OneOf(std::vector<std::string> values);
  Flag& Size();    // takes 4k, 2GiB; before Range, which then sees the number
  Flag& Commas();  // several values in one, such as 1,4,16
  Flag& Required();
  Flag& Placeholder(const char* name);  // of the value in --help
  Flag& Describe(const char* help);     // instead of the help given at first

 private:
  CLI::Option* option_;
};

// A verb, or the flags of a program without verbs; a handle. Targets of flags must outlive parsing.
class Verb {
 public:
  Verb(CLI::App& app, int& exit_code) : app_(&app), exit_code_(&exit_code) {}

  // A name without dashes is a positional. T: a string, int32_t, uint16_t, int64_t, uint64_t,
  // float, double, or a vector of strings or int32_t.
  template <class T>
  Flag Option(const char* name, T& target, const char* help);
  Flag Switch(const char* name, bool& target, const char* help);
  Flag Find(const char* name);  // a flag that was added before
  void Remove(const char* name);
  // `run` is called once the flags are parsed; its error is printed and sets the exit code.
  void OnParsed(std::function<Status()> run);

 private:
  CLI::App* app_;
  int* exit_code_;
};

// Where a flag's value comes from, without the flags of this call.
struct FlagValue {
  std::string name;    // "--port"
  std::string value;   // empty: not set
  std::string origin;  // "environment MILLRACE_PORT", "file", "default"
};

// The command line as it was defined, for manuals and completions.
struct FlagDescription {
  std::vector<std::string> names;  // "-h", "--help"; of a positional its one name, without dashes
  std::string help;
  std::string placeholder;          // of its value: "FILE", "INT"; empty: it takes none
  std::vector<std::string> values;  // the only ones that it takes; empty: others, too
  std::string default_value;        // empty: none that is shown
  std::string variable;             // of the environment, that stands in for it; empty: none
  bool positional = false;
  bool repeatable = false;
  bool required = false;
};
struct VerbDescription {
  std::string name;
  std::string help;
  std::vector<FlagDescription> flags;  // positionals among them, in their order
};
struct ProgramDescription {
  std::string name;
  std::string help;
  std::vector<FlagDescription> flags;  // that stand before the verb
  std::vector<VerbDescription> verbs;
};

class CommandLine {
 public:
  CommandLine(const char* name, const char* description);
  ~CommandLine();

  Verb AddVerb(const char* name, const char* help);  // one of them must be given
  Verb Program();                                    // for flags that stand before any verb
  // A TOML file may give flags, through --config, before or behind the verb: a table for each verb,
  // such as [serve]. The environment wins over the file; a key that is no flag is an error. Before
  // any AddVerb.
  void AllowConfigFile(const char* help);
  // While a verb runs: what another verb's flags would be, by environment, file and default.
  std::vector<FlagValue> ValuesOf(const char* verb) const;

  // All that was added so far.
  ProgramDescription Describe() const;

  // Parses, runs the verb, and returns the process's exit code: 0, 1 (failed) or 2 (wrong usage).
  int Run(int argc, char** argv);

 private:
  std::unique_ptr<CLI::App> app_;
  int exit_code_ = 0;
};

}  // namespace millrace
