// millrace convert ADAPTER OUT: a LoRA adapter as PEFT saves it, as the GGUF adapter that --lora
// takes. (Models are converted by quantize.)
#include <fmt/format.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>

#include "base/topology.h"
#include "command_line.h"
#include "conversion/peft_adapter.h"
#include "conversion/quantize_file.h"
#include "conversion/type_mix.h"
#include "verbs.h"

namespace millrace {
namespace {

struct ConvertFlags {
  std::string adapter, out, base, type = "F32";
  bool json = false;
};

Status RunConvert(const ConvertFlags& flags) {
  std::signal(SIGXFSZ, SIG_IGN);  // as for quantize: an error of write
  ASSIGN_OR_RETURN(const ModelSource source, SourceFromPeftAdapter(flags.adapter, flags.base));
  ASSIGN_OR_RETURN(const FileTypeInfo type, ParseFileType(flags.type));
  ConversionPlan plan;
  plan.types.assign(source.tensors.size(), type.base);
  plan.file_type = type.number;
  ASSIGN_OR_RETURN(const Isa isa, ChooseIsa(std::nullopt));
  ThreadPool pool(PlanThreads(ReadTopology(), 0, Pinning::kAuto, LoadAverage()));
  RETURN_IF_ERROR(WriteConverted(source, plan, FitKernelsFor(isa), pool, flags.out));
  std::error_code ignored;
  const auto bytes = std::filesystem::file_size(flags.out, ignored);
  const size_t pairs = source.tensors.size() / 2;
  if (flags.json) {
    const nlohmann::ordered_json out = {{"out", flags.out},
                                        {"architecture", source.architecture},
                                        {"type", type.name},
                                        {"matrices", pairs},
                                        {"bytes", bytes}};
    fmt::print("{}\n", out.dump(2));
    return {};
  }
  fmt::print("{}: a LoRA adapter for {}, {} matrices, {}, {:.1f} MiB\n", flags.out,
             source.architecture, pairs, type.name, static_cast<double>(bytes) / (1 << 20));
  return {};
}

}  // namespace

void AddConvertVerb(CommandLine& line) {
  auto flags = std::make_shared<ConvertFlags>();
  Verb verb =
      line.AddVerb("convert", "Turn a LoRA adapter as PEFT saves it into a GGUF file for --lora");
  verb.Option("adapter", flags->adapter,
              "a folder with adapter_config.json and adapter_model.safetensors")
      .Placeholder("ADAPTER")
      .Required();
  verb.Option("out", flags->out, "the file to write; it appears whole or not at all")
      .Placeholder("OUT")
      .Required();
  verb.Option("--base", flags->base,
              "the model that it was trained on: its Hugging Face folder (config.json is enough) "
              "or its GGUF file; default: the folder that adapter_config.json names")
      .Placeholder("MODEL");
  verb.Option("--type", flags->type, "how values are stored")
      .ShowDefault()
      .OneOf({"F32", "F16", "BF16"});
  verb.Switch("--json", flags->json, "the outcome as JSON");
  verb.OnParsed([flags] { return RunConvert(*flags); });
}

}  // namespace millrace
