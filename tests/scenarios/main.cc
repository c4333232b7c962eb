// Scenarios of many requests at once on a real engine and a model of realistic cost:
//   serving_scenarios MODEL.gguf SCENARIO ... [--threads N]
// Needs no more than the model; `millrace bench --shape llama-1b --type Q4_K_M --save MODEL.gguf`
// makes one. Every comparison is within one run.
#include <cstdio>
#include <string>

#include "tests/scenarios/stage.h"

namespace {

using namespace millrace;
using namespace millrace::scenarios;

Status Play(Stage& stage, const std::string& name) {
  if (name == "mixed") return MixedLengths(stage, LengthMix::kLogUniform);
  if (name == "mixed-uniform") return MixedLengths(stage, LengthMix::kUniform);
  if (name == "mixed-two-kinds") return MixedLengths(stage, LengthMix::kTwoKinds);
  if (name == "mixed-arriving") return MixedArrivals(stage);
  if (name == "long-prompt") return LongPrompt(stage, std::chrono::milliseconds(100));
  if (name == "bookkeeping") return Bookkeeping(stage);
  return Error{"unknown scenario '" + name +
               "': give mixed, mixed-uniform, mixed-two-kinds, mixed-arriving, long-prompt or "
               "bookkeeping"};
}

Status Main(std::vector<std::string> arguments) {
  int threads = 0;
  if (arguments.size() >= 2 && arguments[arguments.size() - 2] == "--threads") {
    threads = std::atoi(arguments.back().c_str());
    arguments.resize(arguments.size() - 2);
  }
  if (arguments.size() < 2) {
    return Error{"usage: serving_scenarios MODEL.gguf SCENARIO ... [--threads N]"};
  }
  ASSIGN_OR_RETURN(const auto stage, Stage::Load(arguments[0], threads, 8192));
  for (size_t i = 1; i < arguments.size(); ++i) {
    RETURN_IF_ERROR(Play(*stage, arguments[i]));
    std::fflush(stdout);
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const Status status = Main(std::vector<std::string>(argv + 1, argv + argc));
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.error().message.c_str());
  return 1;
}
