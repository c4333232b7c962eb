#include "command_line.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <istream>
#include <new>
#include <utility>

#include "reporting.h"

namespace millrace {
namespace {

bool IsInEnvironment(const CLI::Option& option) {
  return !option.get_envname().empty() && std::getenv(option.get_envname().c_str()) != nullptr;
}

// By itself CLI11 lets a file win over the environment.
class EnvironmentFirst : public CLI::ConfigBase {
 public:
  explicit EnvironmentFirst(const CLI::App& app) : app_(app) {}
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::vector<CLI::ConfigItem> found = ConfigBase::from_config(input);
    std::erase_if(found, [this](const CLI::ConfigItem& item) {
      const CLI::Option* option = Find(item);
      return option != nullptr && IsInEnvironment(*option);
    });
    return found;
  }

 private:
  const CLI::Option* Find(const CLI::ConfigItem& item) const {
    const CLI::App* app = &app_;
    for (const std::string& parent : item.parents) {
      try {
        app = app->get_subcommand(parent);
      } catch (const CLI::OptionNotFound&) {
        return nullptr;  // for the parser to complain about
      }
    }
    return app->get_option_no_throw("--" + item.name);
  }

  const CLI::App& app_;
};

// CLI11 writes what an option takes as "TEXT:{on,off}", "INT:INT in [0 - 8]" or what was set.
FlagDescription DescriptionOf(const CLI::Option& option) {
  FlagDescription flag;
  flag.positional = option.get_positional();
  for (const std::string& name : option.get_snames()) flag.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) flag.names.push_back("--" + name);
  if (flag.positional) flag.names = {option.get_name(true)};
  flag.help = option.get_description();
  flag.variable = option.get_envname();
  flag.default_value = option.get_default_str();
  flag.required = option.get_required();
  flag.repeatable = option.get_expected_max() >= CLI::detail::expected_max_vector_size;
  const std::string type = option.get_type_name();
  if (option.get_items_expected_max() == 0 && type != "FILE") return flag;
  flag.placeholder = type.substr(0, type.find(':'));
  const size_t open = type.find(":{");
  if (open == std::string::npos) return flag;
  const std::string listed = type.substr(open + 2, type.find('}', open) - open - 2);
  flag.values = CLI::detail::split(listed, ',');
  return flag;
}

std::vector<FlagDescription> DescriptionsOf(const CLI::App& app) {
  std::vector<FlagDescription> flags;
  for (const CLI::Option* option : app.get_options()) flags.push_back(DescriptionOf(*option));
  return flags;
}

}  // namespace

Flag& Flag::Env(const char* variable) {
  option_->envname(variable);
  return *this;
}

Flag& Flag::ShowDefault() {
  option_->capture_default_str();
  return *this;
}

Flag& Flag::Range(int64_t low, int64_t high) {
  option_->check(CLI::Range(low, high));
  return *this;
}

Flag& Flag::RealRange(double low, double high) {
  option_->check(CLI::Range(low, high));
  return *this;
}

Flag& Flag::Positive() {
  option_->check(CLI::PositiveNumber);
  return *this;
}

Flag& Flag::NonNegative() {
  option_->check(CLI::NonNegativeNumber);
  return *this;
}

Flag& Flag::OneOf(std::vector<std::string> values) {
  option_->check(CLI::IsMember(std::move(values)));
  return *this;
}

Flag& Flag::Size() {
  option_->transform(CLI::AsSizeValue(false));
  return *this;
}

Flag& Flag::Commas() {
  option_->delimiter(',');
  return *this;
}

Flag& Flag::Required() {
  option_->required();
  return *this;
}

Flag& Flag::Placeholder(const char* name) {
  option_->type_name(name);
  return *this;
}

Flag& Flag::Describe(const char* help) {
  option_->description(help);
  return *this;
}

template <class T>
Flag Verb::Option(const char* name, T& target, const char* help) {
  return Flag(app_->add_option(name, target, help));
}
template Flag Verb::Option(const char*, std::string&, const char*);
template Flag Verb::Option(const char*, int32_t&, const char*);
template Flag Verb::Option(const char*, uint16_t&, const char*);
template Flag Verb::Option(const char*, int64_t&, const char*);
template Flag Verb::Option(const char*, uint64_t&, const char*);
template Flag Verb::Option(const char*, float&, const char*);
template Flag Verb::Option(const char*, double&, const char*);
template Flag Verb::Option(const char*, std::vector<std::string>&, const char*);
template Flag Verb::Option(const char*, std::vector<int32_t>&, const char*);

Flag Verb::Switch(const char* name, bool& target, const char* help) {
  return Flag(app_->add_flag(name, target, help));
}

Flag Verb::Find(const char* name) { return Flag(app_->get_option(name)); }

void Verb::Remove(const char* name) { app_->remove_option(app_->get_option(name)); }

void Verb::OnParsed(std::function<Status()> run) {
  app_->callback([run = std::move(run), exit_code = exit_code_] {
    if (const Status status = run(); !status.ok()) *exit_code = ReportError(status.error());
  });
}

CommandLine::CommandLine(const char* name, const char* description)
    : app_(std::make_unique<CLI::App>(description)) {
  app_->name(name);
}

CommandLine::~CommandLine() = default;

Verb CommandLine::AddVerb(const char* name, const char* help) {
  app_->require_subcommand(1);
  return Verb(*app_->add_subcommand(name, help), exit_code_);
}

Verb CommandLine::Program() { return Verb(*app_, exit_code_); }

void CommandLine::AllowConfigFile(const char* help) {
  app_->set_config("--config", "", help)->type_name("FILE");
  app_->config_formatter(std::make_shared<EnvironmentFirst>(*app_));
  app_->allow_config_extras(CLI::config_extras_mode::error);
  app_->fallthrough();  // so that --config may stand behind the verb
}

std::vector<FlagValue> CommandLine::ValuesOf(const char* verb) const {
  std::vector<FlagValue> values;
  const CLI::App* const app = app_->get_subcommand(verb);
  for (const CLI::Option* option : app->get_options()) {
    if (option == app->get_help_ptr()) continue;
    FlagValue value{option->get_name(), option->get_default_str(), "default"};
    if (option->count() > 0) {
      value.value.clear();
      for (const std::string& part : option->results())
        value.value += (value.value.empty() ? "" : ",") + part;
      value.origin =
          IsInEnvironment(*option) ? "environment " + option->get_envname() : std::string("file");
    }
    values.push_back(std::move(value));
  }
  return values;
}

ProgramDescription CommandLine::Describe() const {
  ProgramDescription program{app_->get_name(), app_->get_description(), DescriptionsOf(*app_), {}};
  for (const CLI::App* verb : std::as_const(*app_).get_subcommands({})) {
    program.verbs.push_back({verb->get_name(), verb->get_description(), DescriptionsOf(*verb)});
  }
  return program;
}

int CommandLine::Run(int argc, char** argv) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const int code = app_->exit(e);
    return code == 0 ? 0 : 2;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr,
                 "millrace: out of memory: lower --context, --max-running or --kv-memory\n");
    return 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "millrace: %s\n", e.what());
    return 1;
  }
  return exit_code_;
}

}  // namespace millrace
