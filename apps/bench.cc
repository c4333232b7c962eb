// millrace bench MODEL: tokens per second of prefill and decode over a grid of prompt, batch and
// depth, with medians. Times the model itself (no scheduler, no sampling), as peers' bench tools
// do.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/cgroup.h"
#include "command_line.h"
#include "gguf/writer.h"
#include "lab/statistics.h"
#include "model/deepened_model.h"
#include "model/random_model.h"
#include "model_loading.h"
#include "quantization/machine_speed.h"
#include "reporting.h"
#include "speed.h"
#include "verbs.h"

namespace millrace {
namespace {

struct BenchFlags {
  ModelFlags model;
  std::string shape;            // a random model of this shape instead of a file
  std::string type = "Q4_K_M";  // of its weights
  std::string save;             // where to leave it
  int32_t deepen = 1;           // times as many layers, for the same function
  std::vector<int32_t> prompts = {512};
  int32_t generate = 32;
  std::vector<int32_t> batches = {1};
  std::vector<int32_t> depths = {0};
  std::vector<int32_t> verify;  // rows of one sequence in a step, against one
  int32_t repeat = 5;
  bool json = false;
};

struct Figure {
  double minimum = 0, median = 0, maximum = 0;
};

Figure Summarise(const std::vector<double>& values) {
  const auto [minimum, maximum] = std::ranges::minmax(values);
  return {minimum, Median(values), maximum};
}

// What attention took of some timed runs: seconds of all of them, and bytes of intermediate results
// written (attention.h) in one of them.
struct AttentionUse {
  double seconds = 0, all_seconds = 0;
  int64_t bytes_written = 0;
};

nlohmann::ordered_json ToJson(const AttentionUse& use, int32_t runs) {
  return {{"seconds", use.seconds / runs},
          {"share", use.seconds / use.all_seconds},
          {"intermediate_bytes_written", use.bytes_written / runs}};
}

nlohmann::ordered_json ToJson(const Figure& f) {
  return {{"minimum", f.minimum}, {"median", f.median}, {"maximum", f.maximum}};
}

// Runs `run`, which gives tokens per second of `tokens`, and adds what attention took.
template <class Run>
double Timed(const LoadedModel& loaded, AttentionUse& use, double tokens, Run run) {
  const ModelStatistics before = loaded.model->statistics();
  const double rate = run();
  const ModelStatistics after = loaded.model->statistics();
  use.seconds += after.attention_seconds - before.attention_seconds;
  use.bytes_written += after.attention_bytes_written - before.attention_bytes_written;
  use.all_seconds += tokens / rate;
  return rate;
}

// What the machine reaches with nothing else to do; the roofline of the rows.
struct Machine {
  double read_bandwidth = 0;  // bytes per second
  double int8_peak = 0;       // multiply-adds per second; 0: not measured for this Isa
};

// Adds how much of the machine's peak the medians reach: prefill of the multiply-adds in the
// layers' matrices, decode of the bandwidth by the bytes of weights.
void AddFractions(nlohmann::ordered_json& row, const ModelInfo& info, const Machine& machine) {
  if (row.contains("prefill_tokens_per_second") && machine.int8_peak > 0) {
    row["prefill_fraction_of_int8_peak"] =
        row["prefill_tokens_per_second"]["median"].get<double>() *
        static_cast<double>(info.layer_macs) / machine.int8_peak;
  }
  if (row.contains("decode_tokens_per_second")) {
    row["decode_fraction_of_bandwidth"] =
        row["decode_tokens_per_second"]["median"].get<double>() / row["batch"].get<double>() *
        static_cast<double>(info.step_weight_bytes) / machine.read_bandwidth;
  }
}

void PrintRow(const nlohmann::ordered_json& row) {
  const auto cell = [&](const char* key) {
    return row.contains(key) ? fmt::format("{:.1f}", row[key]["median"].get<double>()) : "-";
  };
  const auto share = [&](const char* key) {
    return row.contains(key) ? fmt::format("{:.0f} %", row[key].get<double>() * 100) : "-";
  };
  fmt::print("{:8} {:6} {:8} {:>16} {:>9} {:>16} {:>9}\n", row["prompt"].get<int>(),
             row["batch"].get<int>(), row["depth"].get<int>(), cell("prefill_tokens_per_second"),
             share("prefill_fraction_of_int8_peak"), cell("decode_tokens_per_second"),
             share("decode_fraction_of_bandwidth"));
  std::fflush(stdout);
}

void PrintHead(const BenchFlags& flags, const LoadedModel& loaded, const Machine& machine) {
  fmt::print("{}, {}, {} threads, {} repeats, medians; this machine reads {:.1f} GB/s", loaded.id,
             NameOf(loaded.isa), loaded.pool->threads(), flags.repeat,
             machine.read_bandwidth * 1e-9);
  if (machine.int8_peak > 0) fmt::print(", int8 peak {:.0f} GMAC/s", machine.int8_peak * 1e-9);
  fmt::print("\n{:>8} {:>6} {:>8} {:>16} {:>9} {:>16} {:>9}\n", "prompt", "batch", "depth",
             "prefill tokens/s", "of peak", "decode tokens/s", "of read");
}

Result<nlohmann::ordered_json> MeasureRow(const BenchFlags& flags, LoadedModel& loaded,
                                          int32_t prompt, int32_t batch, int32_t depth) {
  const int32_t longest = depth + std::max(prompt, flags.generate);
  ASSIGN_OR_RETURN(KvStore kv, KvStore::Create(loaded.info.kv_shape, loaded.kv_type,
                                               batch * BlocksFor(longest)));
  SpeedProbe probe(loaded, std::move(kv), flags.model.prefill_chunk);
  probe.FillDepth(batch, depth);
  nlohmann::ordered_json row = {{"prompt", prompt}, {"batch", batch}, {"depth", depth}};
  std::vector<double> prefill, decode;
  AttentionUse warm_up, prefill_use, decode_use;
  for (int32_t i = -1; i < flags.repeat; ++i) {  // the first is a warm-up
    if (prompt > 0) {
      const double p = Timed(loaded, i < 0 ? warm_up : prefill_use, double{1} * batch * prompt,
                             [&] { return probe.Prefill(batch, prompt, depth); });
      if (i >= 0) prefill.push_back(p);
    }
    if (flags.generate > 0) {
      const double d =
          Timed(loaded, i < 0 ? warm_up : decode_use, double{1} * batch * flags.generate,
                [&] { return probe.Decode(batch, flags.generate, depth); });
      if (i >= 0) decode.push_back(d);
    }
  }
  if (prompt > 0) {
    row["prefill_tokens_per_second"] = ToJson(Summarise(prefill));
    row["prefill_attention"] = ToJson(prefill_use, flags.repeat);
  }
  if (flags.generate > 0) {
    row["decode_tokens_per_second"] = ToJson(Summarise(decode));
    row["decode_attention"] = ToJson(decode_use, flags.repeat);
    // As though no layer had a sliding window.
    const double positions = flags.generate * (depth + (flags.generate + 1) / 2.0) * batch;
    const double bytes =
        static_cast<double>(KvStore::BlockBytes(loaded.info.kv_shape, loaded.kv_type)) /
        kBlockTokens * positions;
    row["decode_attention"]["kv_bytes_per_second"] = bytes * flags.repeat / decode_use.seconds;
  }
  return row;
}

// One step of `count` tokens of one sequence beside one of a single token, the two taking turns.
Result<nlohmann::ordered_json> MeasureVerification(const BenchFlags& flags, LoadedModel& loaded,
                                                   int32_t count, int32_t depth) {
  ASSIGN_OR_RETURN(KvStore kv,
                   KvStore::Create(loaded.info.kv_shape, loaded.kv_type, BlocksFor(depth + count)));
  SpeedProbe probe(loaded, std::move(kv), flags.model.prefill_chunk);
  probe.FillDepth(1, depth);
  std::vector<double> verify, decode;
  const int32_t turns = std::max(flags.repeat, flags.repeat * flags.generate / 4);
  for (int32_t i = -2; i < turns; ++i) {  // the first two are a warm-up
    const double v = probe.Step(count, depth);
    const double d = probe.Step(1, depth);
    if (i < 0) continue;
    verify.push_back(v);
    decode.push_back(d);
  }
  const Figure v = Summarise(verify), d = Summarise(decode);
  return nlohmann::ordered_json{{"verify", count},
                                {"depth", depth},
                                {"verify_seconds", ToJson(v)},
                                {"decode_seconds", ToJson(d)},
                                {"ratio", v.median / d.median}};
}

void PrintVerification(const nlohmann::ordered_json& row) {
  fmt::print(
      "verifying {} tokens of one sequence at depth {}: {:.2f} ms, a decode step {:.2f} ms; "
      "ratio {:.2f}\n",
      row["verify"].get<int>(), row["depth"].get<int>(),
      row["verify_seconds"]["median"].get<double>() * 1e3,
      row["decode_seconds"]["median"].get<double>() * 1e3, row["ratio"].get<double>());
  std::fflush(stdout);
}

// A file that is removed at the end of the scope.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  TemporaryFile(TemporaryFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove(path_, ignored);
  }

 private:
  std::string path_;
};

// Refuses what would not fit, before anything is written: the file, its packed weights, and the
// largest row's keys and values.
Status CheckRoom(const BenchFlags& flags, const ModelShape& shape, size_t weight_bytes,
                 const std::filesystem::path& folder) {
  const auto mebibytes = [](uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; };
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(folder, error);
  if (!error && space.available < weight_bytes) {
    return Error{"the model takes " + mebibytes(weight_bytes) + ", but " + folder.string() +
                     " has " + mebibytes(space.available) + " left: set TMPDIR or --save to " +
                     "a folder with more room",
                 ErrorKind::kExhausted};
  }
  ASSIGN_OR_RETURN(const KvType kv_type, ParseKvType(flags.model.kv_type));
  const int32_t positions =
      *std::max_element(flags.depths.begin(), flags.depths.end()) +
      std::max(flags.generate, *std::max_element(flags.prompts.begin(), flags.prompts.end()));
  const uint64_t kv_bytes =
      static_cast<uint64_t>(
          KvStore::BlockBytes({shape.layers, shape.kv_heads, shape.head_dim}, kv_type)) *
      static_cast<uint64_t>(BlocksFor(positions)) *
      static_cast<uint64_t>(*std::max_element(flags.batches.begin(), flags.batches.end()));
  const uint64_t available = AvailableMemory();
  const bool packed = flags.model.weights != "mapped";
  if (ChooseStorage(packed ? weight_bytes : 0, kv_bytes, available) == WeightStorage::kMapped) {
    return Error{std::string(shape.name) + " in " + flags.type + " needs " +
                     mebibytes(packed ? weight_bytes : 0) + " for weights and " +
                     mebibytes(kv_bytes) + " for keys and values, but " + mebibytes(available) +
                     " are available: choose a smaller --shape, --type, --batch or --depth",
                 ErrorKind::kExhausted};
  }
  return {};
}

// Writes the random model and has the flags load it. The file is kept where --save names one, else
// it goes with the result.
Result<TemporaryFile> WriteRandomModel(const BenchFlags& flags, ModelFlags& model_flags) {
  if (!model_flags.model.empty()) return Error{"give a MODEL or --shape, not both"};
  ASSIGN_OR_RETURN(const ModelShape* shape, FindShape(flags.shape));
  ASSIGN_OR_RETURN(const TypeMix mix, ParseTypeMix(flags.type));
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(error);
  if (error && flags.save.empty())
    return Error{"there is no folder for temporary files: set TMPDIR, or give --save"};
  const std::string name =
      flags.shape + "-" + flags.type + "-" + std::to_string(getpid()) + ".gguf";
  const std::string path = flags.save.empty() ? (folder / name).string() : flags.save;
  GgufWriter writer;
  AddRandomModel(*shape, mix, 1, writer);
  RETURN_IF_ERROR(CheckRoom(flags, *shape, writer.tensor_bytes(),
                            std::filesystem::absolute(path, error).parent_path()));
  RETURN_IF_ERROR(writer.WriteTo(path));
  model_flags.model = path;
  return TemporaryFile(flags.save.empty() ? path : std::string());
}

// Writes the model with so many times its layers, and has the flags load that.
Result<TemporaryFile> WriteDeepenedModel(const BenchFlags& flags, ModelFlags& model_flags) {
  ASSIGN_OR_RETURN(const MappedGguf source, OpenModelFile(model_flags));
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(error);
  if (error) return Error{"there is no folder for temporary files: set TMPDIR"};
  const std::string name = "millrace-deepened-" + std::to_string(getpid()) + ".gguf";
  GgufWriter writer;
  RETURN_IF_ERROR(AddDeepenedModel(source.file(), flags.deepen, writer));
  RETURN_IF_ERROR(writer.WriteTo((folder / name).string()));
  model_flags.model = (folder / name).string();
  return TemporaryFile(model_flags.model);
}

Status RunBench(const BenchFlags& flags) {
  ModelFlags model_flags = flags.model;
  std::optional<TemporaryFile> temporary;
  if (!flags.shape.empty()) {
    ASSIGN_OR_RETURN(TemporaryFile written, WriteRandomModel(flags, model_flags));
    temporary.emplace(std::move(written));
  }
  std::optional<TemporaryFile> deepened;
  if (flags.deepen > 1) {
    ASSIGN_OR_RETURN(TemporaryFile written, WriteDeepenedModel(flags, model_flags));
    deepened.emplace(std::move(written));
  }
  const int32_t prompt = *std::max_element(flags.prompts.begin(), flags.prompts.end());
  const int32_t depth = *std::max_element(flags.depths.begin(), flags.depths.end());
  const int32_t verify =
      flags.verify.empty() ? 0 : *std::max_element(flags.verify.begin(), flags.verify.end());
  model_flags.context =
      std::max(model_flags.context, depth + std::max({prompt, flags.generate, verify}));
  ASSIGN_OR_RETURN(LoadedModel loaded, LoadModel(model_flags));
  nlohmann::ordered_json out = {{"model", loaded.id},
                                {"instruction_set", NameOf(loaded.isa)},
                                {"threads", loaded.pool->threads()},
                                {"kv_type", NameOf(loaded.kv_type)},
                                {"attention", flags.model.attention},
                                {"weight_bytes", loaded.info.weight_bytes},
                                {"repeat", flags.repeat},
                                {"generate", flags.generate}};
  const Machine machine{MeasureReadBandwidth(*loaded.pool),
                        MeasureInt8Peak(loaded.isa, *loaded.pool)};
  out["machine"] = {{"read_bytes_per_second", machine.read_bandwidth}};
  if (machine.int8_peak > 0) out["machine"]["int8_macs_per_second"] = machine.int8_peak;
  if (!flags.json) PrintHead(flags, loaded, machine);
  for (const int32_t d : flags.depths) {
    for (const int32_t b : flags.batches) {
      for (const int32_t p : flags.prompts) {
        if (p == 0 && flags.generate == 0) continue;
        ASSIGN_OR_RETURN(nlohmann::ordered_json row, MeasureRow(flags, loaded, p, b, d));
        AddFractions(row, loaded.info, machine);
        if (!flags.json) PrintRow(row);
        out["rows"].push_back(std::move(row));
      }
    }
  }
  for (const int32_t d : flags.depths) {
    for (const int32_t count : flags.verify) {
      ASSIGN_OR_RETURN(nlohmann::ordered_json row, MeasureVerification(flags, loaded, count, d));
      if (!flags.json) PrintVerification(row);
      out["verification"].push_back(std::move(row));
    }
  }
  if (flags.json) std::puts(out.dump(2).c_str());
  return {};
}

}  // namespace

void AddBenchVerb(CommandLine& line) {
  auto flags = std::make_shared<BenchFlags>();
  Verb verb = line.AddVerb("bench", "Measure tokens per second of prefill and decode");
  AddModelFlags(verb, flags->model);
  verb.Option("--shape", flags->shape,
              "random weights instead of a MODEL: llama-1b, llama-3b, llama-8b, qwen3-4b, tiny");
  verb.Option("--type", flags->type, "with --shape: Q4_K_M, Q5_K_M, Q8_0, F16, ...").ShowDefault();
  verb.Option("--save", flags->save, "with --shape: keep the model in this file");
  verb.Option("--deepen", flags->deepen,
              "so many times the model's layers, of which the added ones change nothing: the "
              "same function at that many times the price")
      .ShowDefault()
      .Range(1, 10000);
  verb.Option("--prompt", flags->prompts, "prompt lengths, such as 512,4096")
      .Commas()
      .Range(0, 1 << 22);
  verb.Option("--generate", flags->generate, "decode steps").ShowDefault().Range(0, 1 << 20);
  verb.Option("--batch", flags->batches, "sequences together, such as 1,4,16")
      .Commas()
      .Range(1, 4096);
  verb.Option("--depth", flags->depths, "tokens already in the cache, such as 0,4096")
      .Commas()
      .Range(0, 1 << 22);
  verb.Option("--verify", flags->verify,
              "tokens of one sequence in a step, such as 8, against a decode step")
      .Commas()
      .Range(1, 1 << 16);
  verb.Option("--repeat", flags->repeat, "timed runs of each row").ShowDefault().Range(1, 1000);
  verb.Switch("--json", flags->json, "minimum, median and maximum as JSON");
  verb.OnParsed([flags] { return RunBench(*flags); });
}

}  // namespace millrace
