// --budget and --max-kl of `millrace quantize`: measures what each type of each tensor costs in KL
// divergence on the calibration text, plans, writes, and measures the file that was written.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "conversion/budget.h"
#include "lab/sensitivity.h"
#include "quality_json.h"
#include "quantization/block_formats.h"
#include "quantizing.h"

namespace millrace {
namespace {

// From small to large. F16 stands for "as it is" (sources are seldom finer).
constexpr DType kCandidates[] = {DType::kQ2_K, DType::kQ3_K, DType::kIQ4_XS, DType::kQ4_K,
                                 DType::kQ5_K, DType::kQ6_K, DType::kQ8_0,   DType::kF16};
constexpr DType kProbe = DType::kQ3_K;               // whose divergence the estimate measures
constexpr int64_t kMeasuredParameters = 50'000'000;  // `auto` measures every type up to here

// What one type does to one tensor.
struct Trial {
  std::vector<std::byte> bytes;
  double squared_error = 0;  // weighted by importance
};

class Planner {
 public:
  Planner(const QuantizeFlags& flags, Conversion& conversion, LoadedModel& loaded)
      : flags_(flags),
        conversion_(conversion),
        loaded_(loaded),
        kernels_(FitKernelsFor(loaded.isa)) {}

  Status Run() {
    ASSIGN_OR_RETURN(std::vector<Document> documents, MeasuredDocuments());
    ScoreOptions options;
    options.kv_type = loaded_.kv_type;
    options.isa = loaded_.isa;
    ASSIGN_OR_RETURN(meter_, SensitivityMeter::Create(*loaded_.model, std::move(documents), options,
                                                      *loaded_.pool));
    RETURN_IF_ERROR(MeasureAll());
    ASSIGN_OR_RETURN(BudgetPlan plan, FirstPlan());
    RETURN_IF_ERROR(Write(plan));
    ASSIGN_OR_RETURN(QualitySummary verified, Verify());
    // Losses of single tensors only about add up: with --max-kl, plan again by what came out.
    constexpr int kMostCorrections = 4;
    double target = flags_.max_kl;
    for (int i = 0; flags_.max_kl > 0 && i < kMostCorrections; ++i) {
      if (verified.divergence.mean <= flags_.max_kl) break;
      target *= 0.95 * flags_.max_kl / verified.divergence.mean;
      const auto again = PlanForLoss(options_, target);
      if (!again) break;
      plan = *again;
      RETURN_IF_ERROR(Write(plan));
      ASSIGN_OR_RETURN(verified, Verify());
    }
    Report(plan, verified);
    if (flags_.max_kl > 0 && verified.divergence.mean > flags_.max_kl) {
      return Error{fmt::format("the file's KL is {:.6f}, over --max-kl: it is kept at {}",
                               verified.divergence.mean, flags_.out),
                   ErrorKind::kInternal};
    }
    return {};
  }

 private:
  Result<std::vector<Document>> MeasuredDocuments() const {
    DocumentOptions options;
    options.max_tokens = flags_.sensitivity_tokens;
    return ReadDocuments(flags_.calibration, loaded_, options);
  }

  bool MeasuresEveryType() const {
    if (flags_.sensitivity == "auto") return loaded_.info.parameters <= kMeasuredParameters;
    return flags_.sensitivity == "measure";
  }

  // The options of every tensor; those that are no matrices of the model keep one type.
  Status MeasureAll() {
    const auto& tensors = conversion_.source.tensors;
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (isatty(STDERR_FILENO) != 0) {
        std::fprintf(stderr, "\rmeasuring: tensor %zu of %zu", i + 1, tensors.size());
        if (i + 1 == tensors.size()) std::fprintf(stderr, "\r\033[K");
      }
      ASSIGN_OR_RETURN(std::vector<TypeOption> options, OptionsOf(tensors[i]));
      options_.push_back(std::move(options));
      if (conversion_.source.release) conversion_.source.release(tensors[i].data);
    }
    return {};
  }

  Result<std::vector<TypeOption>> OptionsOf(const SourceTensor& t) {
    const auto fixed = FixedType(t);
    if (fixed) return std::vector<TypeOption>{{*fixed, ConvertedBytes(t, *fixed), 0}};
    std::vector<TypeOption> options;
    double per_error = 0;  // divergence per squared error, of the probe
    if (!MeasuresEveryType()) {
      const DType probe = FittingType(kProbe, t.row_length());
      Trial trial = TryType(t, probe);
      ASSIGN_OR_RETURN(const ClusteredMean kl, Measure(t, probe, trial));
      if (trial.squared_error > 0) per_error = kl.mean / trial.squared_error;
    }
    for (const DType type : kCandidates) {
      if (t.row_length() % InfoOf(type).block_elements != 0) continue;
      if (ConvertedBytes(t, type) >
          std::max(ConvertedBytes(t, DType::kF16), static_cast<int64_t>(t.data.size()))) {
        continue;
      }
      TypeOption option = {type, ConvertedBytes(t, type), 0};
      Trial trial = TryType(t, type);
      if (MeasuresEveryType()) {
        ASSIGN_OR_RETURN(const ClusteredMean kl, Measure(t, type, trial));
        option.loss = kl.mean;
      } else {
        option.loss = per_error * trial.squared_error;
      }
      options.push_back(option);
    }
    return options;
  }

  // The type of a tensor that is not up for choice.
  std::optional<DType> FixedType(const SourceTensor& t) const {
    if (!IsQuantizable(t))
      return t.type == DType::kF16 || t.type == DType::kBF16 ? DType::kF32 : t.type;
    for (auto rule = conversion_.rules.rbegin(); rule != conversion_.rules.rend(); ++rule) {
      if (Matches(rule->pattern, t.name)) return FittingType(rule->type, t.row_length());
    }
    const bool known = loaded_.model->FindMatrix(t.name) != nullptr;
    if (!known) return FittingType(DType::kQ8_0, t.row_length());
    return std::nullopt;
  }

  std::span<const float> ImportanceOf(const SourceTensor& t) const {
    return conversion_.importance->Find(t.name);
  }

  Trial TryType(const SourceTensor& t, DType type) const {
    Trial trial;
    trial.bytes.resize(static_cast<size_t>(ConvertedBytes(t, type)));
    const auto importance = ImportanceOf(t);
    ConvertTensor(t, type, importance, kernels_, *loaded_.pool, trial.bytes);
    const int64_t k = t.row_length();
    const auto row_bytes = static_cast<size_t>(RowBytes(type, k));
    std::vector<double> errors(static_cast<size_t>(t.rows()));
    loaded_.pool->ParallelFor(t.rows(), 16, [&](int64_t begin, int64_t end) {
      std::vector<float> was(static_cast<size_t>(k)), is(static_cast<size_t>(k));
      for (int64_t r = begin; r < end; ++r) {
        t.Read(kernels_, r, 1, was);
        DequantizeBlocks(
            type, std::span(trial.bytes).subspan(static_cast<size_t>(r) * row_bytes, row_bytes),
            is);
        for (size_t i = 0; i < was.size(); ++i) {
          const double off = static_cast<double>(is[i]) - was[i];
          errors[static_cast<size_t>(r)] += off * off * (importance.empty() ? 1 : importance[i]);
        }
      }
    });
    for (const double e : errors) trial.squared_error += e;
    return trial;
  }

  Result<ClusteredMean> Measure(const SourceTensor& t, DType type, const Trial& trial) {
    ASSIGN_OR_RETURN(WeightMatrix matrix, WeightMatrix::Pack(type, t.rows(), t.row_length(),
                                                             trial.bytes, *loaded_.pool));
    return meter_->Divergence(t.name, std::move(matrix));
  }

  // Bytes of OUT beside its tensors' data: metadata, names, padding.
  int64_t Overhead() const {
    int64_t bytes = 4096;
    for (const ModelSource::Entry& e : conversion_.source.metadata)
      bytes += static_cast<int64_t>(e.key.size() + e.kind_and_value.size()) + 8;
    for (const SourceTensor& t : conversion_.source.tensors)
      bytes += static_cast<int64_t>(t.name.size()) + 32 + 8 * 4 + 24;
    return bytes;
  }

  Result<BudgetPlan> FirstPlan() const {
    if (flags_.max_kl > 0) {
      const auto plan = PlanForLoss(options_, flags_.max_kl);
      if (plan) return *plan;
      return Error{"no choice of types reaches --max-kl " + std::to_string(flags_.max_kl) +
                   ": allow more"};
    }
    const auto plan = PlanWithin(options_, static_cast<int64_t>(flags_.budget) - Overhead());
    if (plan) return *plan;
    return Error{"not even the smallest types fit into --budget " + std::to_string(flags_.budget) +
                 " bytes: allow more"};
  }

  Status Write(const BudgetPlan& plan) const {
    ConversionPlan conversion;
    for (size_t i = 0; i < options_.size(); ++i)
      conversion.types.push_back(options_[i][plan.choice[i]].type);
    conversion.importance = &*conversion_.importance;
    return WriteConverted(conversion_.source, conversion, kernels_, *loaded_.pool, flags_.out,
                          ConversionProgressLine());
  }

  Result<QualitySummary> Verify() {
    ModelFlags own = flags_.model;
    own.model = flags_.out;
    ASSIGN_OR_RETURN(const LoadedModel written, LoadModel(own));
    return meter_->Compare(*written.model);
  }

  void Report(const BudgetPlan& plan, const QualitySummary& verified) const {
    std::error_code ignored;
    const auto bytes = std::filesystem::file_size(flags_.out, ignored);
    if (flags_.json) {
      nlohmann::ordered_json out = {{"out", flags_.out},
                                    {"bytes", bytes},
                                    {"expected_kl", plan.loss},
                                    {"measured", ToJson(verified, true)},
                                    {"every_type_measured", MeasuresEveryType()}};
      for (size_t i = 0; i < options_.size(); ++i) {
        const TypeOption& o = options_[i][plan.choice[i]];
        out["plan"].push_back({{"tensor", conversion_.source.tensors[i].name},
                               {"type", NameOf(o.type)},
                               {"bytes", o.bytes},
                               {"kl", o.loss}});
      }
      std::puts(out.dump(2).c_str());
      return;
    }
    for (size_t i = 0; i < options_.size(); ++i) {
      const TypeOption& o = options_[i][plan.choice[i]];
      if (options_[i].size() < 2) continue;
      fmt::print("{:32} {:8} {:>12} bytes  KL {:.6f}\n", conversion_.source.tensors[i].name,
                 NameOf(o.type), o.bytes, o.loss);
    }
    fmt::print(
        "{}: {} bytes; KL expected {:.6f}, measured {:.6f} +- {:.6f}; same top token {:.4f}\n",
        flags_.out, bytes, plan.loss, verified.divergence.mean, verified.divergence.standard_error,
        verified.same_top.mean);
  }

  const QuantizeFlags& flags_;
  Conversion& conversion_;
  LoadedModel& loaded_;
  const FitKernels& kernels_;
  std::unique_ptr<SensitivityMeter> meter_;
  std::vector<std::vector<TypeOption>> options_;
};

}  // namespace

Status QuantizeByPlan(const QuantizeFlags& flags, Conversion& conversion, LoadedModel& loaded) {
  return Planner(flags, conversion, loaded).Run();
}

}  // namespace millrace
