// millrace quantize IN OUT TYPE: writes a model in another type, with an importance matrix measured
// or read; --budget and --max-kl choose the types (quantize_budget.cc).
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/topology.h"
#include "command_line.h"
#include "conversion/hugging_face.h"
#include "quantizing.h"
#include "reporting.h"
#include "verbs.h"

namespace millrace {
namespace {

bool IsFolder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

Result<ModelSource> OpenSource(const std::string& path) {
  if (IsFolder(path)) return SourceFromHuggingFace(path);
  ASSIGN_OR_RETURN(MappedGguf opened, MappedGguf::Open(path));
  return SourceFromGguf(std::make_shared<const MappedGguf>(std::move(opened)));
}

// Runs the calibration text through the model.
Result<ImportanceMatrix> MeasureImportance(const QuantizeFlags& flags, LoadedModel& loaded,
                                           bool tied) {
  DocumentOptions options;
  options.max_tokens = flags.calibration_tokens;
  ASSIGN_OR_RETURN(const std::vector<Document> documents,
                   ReadDocuments(flags.calibration, loaded, options));
  ImportanceCollector collector(tied, *loaded.pool);
  loaded.model->SetObserver([&](ProductInput input, int32_t layer, MatrixView<const float> x) {
    collector.Observe(input, layer, x);
  });
  ScoreOptions score;
  score.kv_type = loaded.kv_type;
  score.isa = loaded.isa;
  const auto scored = ScoreDocuments(*loaded.model, nullptr, documents, score, *loaded.pool);
  loaded.model->SetObserver({});
  if (!scored.ok()) return scored.error();
  return collector.Finish(flags.calibration);
}

ImportanceForm FormOf(const std::string& path) {
  return path.ends_with(".dat") ? ImportanceForm::kDat : ImportanceForm::kGguf;
}

Status CheckFlags(const QuantizeFlags& flags) {
  if (flags.plans() && !flags.type.empty())
    return Error{"give a TYPE, or --budget or --max-kl, not both"};
  if (flags.budget > 0 && flags.max_kl > 0) return Error{"give --budget or --max-kl, not both"};
  if (!flags.plans() && flags.type.empty()) {
    std::string known;
    for (const FileTypeInfo& info : FileTypes())
      known += (known.empty() ? "" : ", ") + std::string(info.name);
    return Error{"give a TYPE (" + known + "), --budget or --max-kl"};
  }
  if (flags.plans() && flags.calibration.empty())
    return Error{"--budget and --max-kl measure the model: give a text with --calibration"};
  if (!flags.save_importance.empty() && flags.calibration.empty())
    return Error{"--save-importance needs --calibration: there is nothing to save"};
  if (!flags.calibration.empty() && !flags.importance.empty() && !flags.plans())
    return Error{"give --calibration or --importance, not both"};
  if (!flags.calibration.empty() && IsFolder(flags.model.model)) {
    return Error{
        "calibration runs the model, which takes a GGUF file: convert the folder first, "
        "as in millrace quantize " +
        flags.model.model + " model-f16.gguf F16"};
  }
  return {};
}

std::map<std::string, int64_t> CountTypes(const std::vector<DType>& types) {
  std::map<std::string, int64_t> counts;
  for (const DType type : types) ++counts[std::string(NameOf(type))];
  return counts;
}

Status QuantizeToType(const QuantizeFlags& flags, const Conversion& conversion, ThreadPool& pool,
                      Isa isa) {
  ASSIGN_OR_RETURN(const FileTypeInfo type, ParseFileType(flags.type));
  const bool has_importance = conversion.importance.has_value();
  ConversionPlan plan;
  ASSIGN_OR_RETURN(plan.types,
                   ChooseTypes(conversion.source, type, conversion.rules, has_importance));
  plan.importance = has_importance ? &*conversion.importance : nullptr;
  plan.file_type = type.number;
  const Clock clock;
  const TimePoint start = clock.Now();
  RETURN_IF_ERROR(WriteConverted(conversion.source, plan, FitKernelsFor(isa), pool, flags.out,
                                 ConversionProgressLine()));
  const double seconds = Seconds(clock.Now() - start);
  int64_t elements = 0;
  for (const SourceTensor& t : conversion.source.tensors) elements += t.elements();
  std::error_code ignored;
  const auto bytes = std::filesystem::file_size(flags.out, ignored);
  if (flags.json) {
    const nlohmann::ordered_json out = {
        {"out", flags.out},
        {"type", type.name},
        {"bytes", bytes},
        {"bits_per_weight", 8.0 * static_cast<double>(bytes) / static_cast<double>(elements)},
        {"tensor_types", CountTypes(plan.types)},
        {"importance", has_importance},
        {"seconds", seconds}};
    std::puts(out.dump(2).c_str());
    return {};
  }
  fmt::print("{}: {}, {:.1f} MiB, {:.2f} bits a weight, {:.1f} s ({:.0f} M weights/s)\n", flags.out,
             type.name, static_cast<double>(bytes) / (1 << 20),
             8.0 * static_cast<double>(bytes) / static_cast<double>(elements), seconds,
             static_cast<double>(elements) / seconds / 1e6);
  return {};
}

Status RunQuantize(const QuantizeFlags& flags) {
  RETURN_IF_ERROR(CheckFlags(flags));
  // A limit on file sizes is to be an error of write, like a full disk.
  std::signal(SIGXFSZ, SIG_IGN);
  Conversion conversion;
  for (const std::string& text : flags.tensors) {
    ASSIGN_OR_RETURN(TensorRule rule, ParseTensorRule(text));
    conversion.rules.push_back(std::move(rule));
  }
  ASSIGN_OR_RETURN(conversion.source, OpenSource(flags.model.model));
  if (!flags.importance.empty()) {
    ASSIGN_OR_RETURN(conversion.importance, ReadImportance(flags.importance));
  }
  if (flags.calibration.empty()) {
    const std::optional<std::string> forced =
        flags.model.isa.empty() ? std::nullopt : std::optional(flags.model.isa);
    ASSIGN_OR_RETURN(const Isa isa, ChooseIsa(forced));
    ASSIGN_OR_RETURN(const Pinning pinning, ParsePinning(flags.model.pinning));
    ThreadPool pool(PlanThreads(ReadTopology(), flags.model.threads, pinning, LoadAverage()));
    return QuantizeToType(flags, conversion, pool, isa);
  }
  ASSIGN_OR_RETURN(LoadedModel loaded, LoadModel(flags.model));
  if (!conversion.importance) {
    ASSIGN_OR_RETURN(conversion.importance,
                     MeasureImportance(flags, loaded, conversion.source.tied()));
  }
  if (!flags.save_importance.empty()) {
    RETURN_IF_ERROR(WriteImportance(*conversion.importance, FormOf(flags.save_importance),
                                    flags.save_importance));
  }
  if (flags.plans()) return QuantizeByPlan(flags, conversion, loaded);
  loaded.model.reset();
  return QuantizeToType(flags, conversion, *loaded.pool, loaded.isa);
}

}  // namespace

OnConversionProgress ConversionProgressLine() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](const ConversionProgress& p) {
    std::fprintf(stderr, "\rquantizing: tensor %zu of %zu, %.0f %%", p.tensors_done, p.tensors,
                 100.0 * static_cast<double>(p.bytes_done) / static_cast<double>(p.bytes));
    if (p.tensors_done == p.tensors) std::fprintf(stderr, "\r\033[K");
  };
}

void AddQuantizeVerb(CommandLine& line) {
  auto flags = std::make_shared<QuantizeFlags>();
  Verb verb = line.AddVerb("quantize", "Write a model in a smaller type");
  AddModelFlags(verb, flags->model);
  verb.Find("model").Required().Placeholder("IN").Describe(
      "a GGUF file, or a Hugging Face folder (safetensors, config.json, tokenizer.json)");
  verb.Option("out", flags->out, "the file to write; it appears whole or not at all")
      .Placeholder("OUT")
      .Required();
  verb.Option("type", flags->type,
              "F32 F16 BF16 Q8_0 Q6_K Q5_K_M Q5_K_S Q4_K_M Q4_K_S Q4_0 IQ4_NL IQ4_XS Q3_K_M "
              "Q2_K MXFP4")
      .Placeholder("TYPE");
  verb.Option("--tensor", flags->tensors,
              "PATTERN=TYPE for the tensors whose name holds PATTERN (with * or ?: matches "
              "it); may be given several times")
      .Placeholder("PATTERN=TYPE");
  verb.Option("--calibration", flags->calibration,
              "a text: measures the importance of each column on it (also JSONL; demo)");
  verb.Option("--importance", flags->importance,
              "an importance matrix, as llama.cpp writes it (GGUF or .dat)");
  verb.Option("--save-importance", flags->save_importance,
              "keep what --calibration measured; the older form where the name ends in .dat");
  verb.Option("--budget", flags->budget,
              "largest size of OUT, such as 4.5GiB: chooses the types that lose least")
      .Size();
  verb.Option("--max-kl", flags->max_kl,
              "largest mean KL divergence in nats: chooses the smallest file")
      .Positive();
  verb.Option("--sensitivity", flags->sensitivity,
              "with --budget or --max-kl: measure every type of every tensor, or one type and "
              "estimate the others by their squared error; auto: measure small models")
      .ShowDefault()
      .OneOf({"auto", "measure", "estimate"});
  verb.Option("--calibration-tokens", flags->calibration_tokens, "tokens for importance")
      .ShowDefault()
      .Positive();
  verb.Option("--sensitivity-tokens", flags->sensitivity_tokens,
              "tokens for each measurement of a tensor")
      .ShowDefault()
      .Positive();
  verb.Switch("--json", flags->json, "the outcome as JSON");
  verb.OnParsed([flags] { return RunQuantize(*flags); });
}

}  // namespace millrace
