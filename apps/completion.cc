// millrace completion SHELL: the script that makes a shell complete verbs, flags and their values.
// Written from the definitions of the command line, so it knows what this binary knows.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "command_line.h"
#include "verbs.h"

namespace millrace {
namespace {

std::string ReplaceEach(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// As one word of a shell. Fish alone reads backslashes inside such quotes.
std::string Quoted(const std::string& text) { return "'" + ReplaceEach(text, "'", "'\\''") + "'"; }
std::string FishQuoted(const std::string& text) {
  return "'" + ReplaceEach(ReplaceEach(text, "\\", "\\\\"), "'", "\\'") + "'";
}

bool IsNumber(const FlagDescription& flag) {
  return flag.placeholder == "INT" || flag.placeholder == "UINT" || flag.placeholder == "FLOAT";
}

std::string NamesOf(const std::vector<FlagDescription>& flags) {
  std::string names;
  for (const FlagDescription& flag : flags) {
    if (!flag.positional)
      names += fmt::format("{}{}", names.empty() ? "" : " ", fmt::join(flag.names, " "));
  }
  return names;
}

// The values of the verb's first positional, where it takes certain ones only.
std::vector<std::string> FirstValues(const VerbDescription& verb) {
  const auto first = std::find_if(verb.flags.begin(), verb.flags.end(),
                                  [](const FlagDescription& flag) { return flag.positional; });
  return first == verb.flags.end() ? std::vector<std::string>() : first->values;
}

// ---- bash: where nothing is offered, bash offers files ----

std::string BashValues(const std::vector<FlagDescription>& flags) {
  std::string cases;
  for (const FlagDescription& flag : flags) {
    if (flag.positional || flag.placeholder.empty()) continue;
    std::string offer = "return";
    if (!flag.values.empty()) {
      offer = fmt::format("_millrace_offer {}; return",
                          Quoted(fmt::format("{}", fmt::join(flag.values, " "))));
    } else if (IsNumber(flag)) {
      offer = "compopt +o default +o bashdefault; return";
    }
    cases += fmt::format("        {}) {} ;;\n", fmt::join(flag.names, "|"), offer);
  }
  return cases.empty() ? "" : "      case $flag in\n" + cases + "      esac\n";
}

std::string BashScript(const ProgramDescription& program) {
  std::string verbs, cases;
  for (const VerbDescription& verb : program.verbs) {
    verbs += (verbs.empty() ? "" : " ") + verb.name;
    cases += fmt::format("    {})\n{}      flags={}\n", verb.name, BashValues(verb.flags),
                         Quoted(NamesOf(verb.flags)));
    const std::vector<std::string> values = FirstValues(verb);
    if (!values.empty())
      cases += fmt::format("      words={}\n", Quoted(fmt::format("{}", fmt::join(values, " "))));
    cases += "      ;;\n";
  }
  return fmt::format(R"(# bash completion of {0}, written by `{0} completion bash`
_millrace_offer() {{ mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }}
_millrace() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} flag=${{COMP_WORDS[COMP_CWORD-1]}} verb='' flags='' words='' i
  # --flag=value comes as three words
  if [[ $cur == '=' ]]; then cur=''; elif [[ $flag == '=' ]]; then flag=${{COMP_WORDS[COMP_CWORD-2]}}; fi
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case ${{COMP_WORDS[i]}} in
      --config) ((++i)) ;;
      -*) ;;
      *) verb=${{COMP_WORDS[i]}}; break ;;
    esac
  done
  [[ $flag == --config ]] && return
  case $verb in
    '')
      flags={1}
      words={2}
      ;;
{3}  esac
  if [[ $cur == -* ]]; then _millrace_offer "$flags"; elif [[ $words ]]; then _millrace_offer "$words"; fi
}}
complete -o bashdefault -o default -F _millrace {0}
)",
                     program.name, Quoted(NamesOf(program.flags)), Quoted(verbs), cases);
}

// ---- zsh ----

std::string ZshText(const std::string& text) {
  std::string safe = text;
  for (const char* special : {"\\", "[", "]", ":"})
    safe = ReplaceEach(safe, special, std::string("\\") + special);
  return safe;
}

std::string ZshAction(const FlagDescription& flag) {
  if (!flag.values.empty()) return fmt::format("({})", fmt::join(flag.values, " "));
  return IsNumber(flag) ? " " : "_files";
}

std::string ZshArguments(const std::vector<FlagDescription>& flags) {
  std::string lines;
  int position = 0;
  for (const FlagDescription& flag : flags) {
    const std::string value = fmt::format(":{}:{}", ZshText(flag.placeholder), ZshAction(flag));
    if (flag.positional) {
      const std::string place = flag.repeatable ? "*" : std::to_string(++position);
      lines += " \\\n      " +
               Quoted(fmt::format("{}:{}:{}", place, ZshText(flag.names.front()), ZshAction(flag)));
      continue;
    }
    for (const std::string& name : flag.names) {
      const std::string spec =
          fmt::format("{}{}[{}]{}", flag.repeatable ? "*" : "", name, ZshText(flag.help),
                      flag.placeholder.empty() ? "" : value);
      lines += " \\\n      " + Quoted(spec);
    }
  }
  return lines;
}

std::string ZshScript(const ProgramDescription& program) {
  std::string verbs, cases;
  for (const VerbDescription& verb : program.verbs) {
    verbs += "\n        " + Quoted(verb.name + ":" + ZshText(verb.help));
    cases += fmt::format("        {}) _arguments{} ;;\n", verb.name, ZshArguments(verb.flags));
  }
  return fmt::format(R"(#compdef {0}
# zsh completion of {0}, written by `{0} completion zsh`
_millrace() {{
  local curcontext="$curcontext" state line
  typeset -A opt_args
  _arguments -C{1} \
      '1:verb:->verb' '*::argument:->arguments'
  case $state in
    verb)
      local -a verbs=({2})
      _describe verb verbs
      ;;
    arguments)
      case $line[1] in
{3}      esac
      ;;
  esac
}}
if [[ $funcstack[1] == _millrace ]]; then _millrace "$@"; else compdef _millrace {0}; fi
)",
                     program.name, ZshArguments(program.flags), verbs, cases);
}

// ---- fish ----

std::string FishLines(const std::string& start, const std::vector<FlagDescription>& flags) {
  std::string lines;
  for (const FlagDescription& flag : flags) {
    if (flag.positional) {
      if (!flag.values.empty()) {
        lines += fmt::format("{} -f -a {}\n", start,
                             FishQuoted(fmt::format("{}", fmt::join(flag.values, " "))));
      }
      continue;
    }
    lines += start;
    for (const std::string& name : flag.names) {
      lines += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
    }
    if (!flag.values.empty()) {
      lines += fmt::format(" -x -a {}", FishQuoted(fmt::format("{}", fmt::join(flag.values, " "))));
    } else if (IsNumber(flag)) {
      lines += " -x";
    } else if (!flag.placeholder.empty()) {
      lines += " -r -F";
    }
    lines += fmt::format(" -d {}\n", FishQuoted(flag.help));
  }
  return lines;
}

std::string FishScript(const ProgramDescription& program) {
  std::string script =
      fmt::format("# fish completion of {0}, written by `{0} completion fish`\n", program.name);
  const std::string start = "complete -c " + program.name;
  script += FishLines(start, program.flags);
  for (const VerbDescription& verb : program.verbs) {
    script += fmt::format("{} -n __fish_use_subcommand -f -a {} -d {}\n", start, verb.name,
                          FishQuoted(verb.help));
    script += FishLines(fmt::format("{} -n '__fish_seen_subcommand_from {}'", start, verb.name),
                        verb.flags);
  }
  return script;
}

}  // namespace

void AddCompletionVerb(CommandLine& line) {
  auto shell = std::make_shared<std::string>();
  Verb verb =
      line.AddVerb("completion", "Print the script that makes a shell complete this command line");
  verb.Option("shell", *shell, "bash, zsh or fish").Required().OneOf({"bash", "zsh", "fish"});
  verb.OnParsed([shell, &line]() -> Status {
    const ProgramDescription program = line.Describe();
    const std::string script = *shell == "bash"  ? BashScript(program)
                               : *shell == "zsh" ? ZshScript(program)
                                                 : FishScript(program);
    std::fputs(script.c_str(), stdout);
    return {};
  });
}

}  // namespace millrace
