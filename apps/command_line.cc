#include "command_line.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>
#include <utility>

#include "reporting.h"

namespace millrace {

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

void CommandLine::AllowConfigFile(const char* help) { app_->set_config("--config", "", help); }

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
