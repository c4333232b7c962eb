// millrace manual: the manual page, for man. The verbs and flags are written from the definitions
// of the command line, so the page says what this binary takes.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdio>

#include "command_line.h"
#include "verbs.h"

namespace millrace {
namespace {

constexpr char kFiles[] = R"(.SH SIGNALS
.TP
.B SIGTERM, SIGINT
.B serve
is not ready any more, finishes what runs for up to
.B \-\-drain\-timeout
seconds, and exits with 0.
.SH EXIT STATUS
0 on success, 1 after a failure, which standard error explains in a sentence, and 2 for a command
line that is not understood.
.SH FILES
.TP
.I /etc/millrace/millrace.toml
What the service
.I millrace.service
reads, through
.BR \-\-config .
.TP
.I /etc/millrace/environment
Variables for the service, such as
.BR MILLRACE_API_KEY .
.SH EXAMPLES
.nf
millrace serve model.gguf \-\-port 8080
millrace run model.gguf "Why is the sky blue?"
millrace doctor model.gguf
.fi
)";

// Text as roff takes it: dashes that can be copied, no escapes, no requests.
std::string Roff(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '\\') {
      safe += "\\e";
    } else if (c == '-') {
      safe += "\\-";
    } else if ((c == '.' || c == '\'') && (safe.empty() || safe.back() == '\n')) {
      safe += std::string("\\&") + c;
    } else {
      safe += c;
    }
  }
  return safe;
}

std::string HeadOf(const FlagDescription& flag) {
  if (flag.positional) {
    return fmt::format(".I {}{}\n", Roff(flag.names.front()), flag.repeatable ? " ..." : "");
  }
  std::string head = ".B " + Roff(fmt::format("{}", fmt::join(flag.names, ", ")));
  if (!flag.placeholder.empty()) {
    const std::string value =
        flag.values.empty() ? flag.placeholder : fmt::format("{}", fmt::join(flag.values, "|"));
    head += " \\fI" + Roff(value) + "\\fR";
  }
  return head + "\n";
}

std::string FlagPart(const FlagDescription& flag) {
  std::string part = ".TP\n" + HeadOf(flag) + Roff(flag.help) + ".\n";
  if (!flag.default_value.empty()) part += fmt::format("Default: {}.\n", Roff(flag.default_value));
  if (!flag.variable.empty()) part += fmt::format("Environment: {}.\n", Roff(flag.variable));
  return part;
}

std::string Upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

std::string Page(const ProgramDescription& program) {
  std::string page = fmt::format(
      ".TH {} 1 \"\" \"{} {}\" \"User Commands\"\n.SH NAME\n{} \\- serve and measure language "
      "models\n.SH SYNOPSIS\n.B {}\n.I verb\n[flags]\n.SH DESCRIPTION\n{}\n.PP\nA flag wins over "
      "its variable of the environment, which wins over the file of\n.BR \\-\\-config ,\nwhich "
      "wins "
      "over the default. Sizes take 8k, 2GiB.\n.SH OPTIONS\n",
      Upper(program.name), program.name, MILLRACE_VERSION, program.name, program.name,
      Roff(program.help));
  for (const FlagDescription& flag : program.flags) page += FlagPart(flag);
  page += ".SH VERBS\n";
  for (const VerbDescription& verb : program.verbs) {
    page += fmt::format(".SS {} {}\n{}.\n", program.name, verb.name, Roff(verb.help));
    for (const FlagDescription& flag : verb.flags) page += FlagPart(flag);
  }
  return page + kFiles;
}

}  // namespace

void AddManualVerb(CommandLine& line) {
  Verb verb = line.AddVerb("manual", "Print the manual page, as man takes it");
  verb.OnParsed([&line]() -> Status {
    std::fputs(Page(line.Describe()).c_str(), stdout);
    return {};
  });
}

}  // namespace millrace
