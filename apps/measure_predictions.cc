#include "measure_predictions.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "lab/quality.h"
#include "model_loading.h"

namespace millrace {
namespace {

// What decides a configuration's predictions.
struct Precision {
  std::string model, kv_type, attention;
  auto operator<=>(const Precision&) const = default;
};

Precision PrecisionOf(const PredictionSetup& setup, const LabConfiguration& c) {
  const ModelFlags usual;
  Precision p{c.model.empty() ? setup.server.model : c.model, usual.kv_type, usual.attention};
  const std::vector<std::string> flags = FlagsFor(setup.server, c, setup.switches);
  for (size_t i = 0; i < flags.size(); ++i) {
    const size_t equals = flags[i].find('=');
    const std::string name = flags[i].substr(0, equals);
    std::string* target = name == "--kv-type"     ? &p.kv_type
                          : name == "--attention" ? &p.attention
                                                  : nullptr;
    if (target == nullptr) continue;
    if (equals != std::string::npos) {
      *target = flags[i].substr(equals + 1);
    } else if (i + 1 < flags.size()) {
      *target = flags[i + 1];
    }
  }
  return p;
}

std::string Described(const Precision& p) {
  const std::string model =
      p.model.empty() ? "embedded model" : std::filesystem::path(p.model).filename().string();
  return fmt::format("{}, {} KV cache, {} attention", model, p.kv_type, p.attention);
}

Result<LoadedModel> Load(const Precision& p) {
  ModelFlags flags;
  flags.model = p.model;
  flags.kv_type = p.kv_type;
  flags.attention = p.attention;
  return LoadModel(flags);
}

// Prompts with the baseline's answers, each request once; clusters are groups or sessions.
std::vector<Document> Texts(const PredictionSetup& setup, const AblationState& state, Stage stage) {
  std::vector<Document> documents;
  std::set<size_t> seen;
  std::map<std::string, int32_t> clusters;
  int64_t tokens = 0;
  for (const RunRecord& run : state.runs) {
    if (run.stage != stage || run.configuration != kBaseline) continue;
    for (size_t i = 0; i < run.items.size() && tokens < setup.tokens; ++i) {
      const size_t item = run.items[i];
      const WorkloadRequest& request = setup.workload.requests[item];
      if (!request.has_text() || run.texts[i].empty() || !seen.insert(item).second) continue;
      std::vector<int32_t> ids = setup.tokenizer.prompt(request);
      const std::vector<int32_t> answer = setup.tokenizer.text(run.texts[i]);
      ids.insert(ids.end(), answer.begin(), answer.end());
      if (ids.size() < 2) continue;
      const std::string& group = request.group.empty() ? request.session : request.group;
      Document document;
      for (const int32_t id : ids) document.tokens.emplace_back(id);
      document.cluster = clusters
                             .try_emplace(group.empty() ? fmt::format("\n{}", item) : group,
                                          static_cast<int32_t>(clusters.size()))
                             .first->second;
      tokens += static_cast<int64_t>(document.tokens.size());
      documents.push_back(std::move(document));
    }
  }
  return documents;
}

// A reference that is loaded once, and what was scored against it.
class PredictionComparison {
 public:
  PredictionComparison(Precision reference, std::vector<Document> documents)
      : reference_(std::move(reference)), documents_(std::move(documents)) {}

  Result<QualitySummary> Against(const Precision& p) {
    if (const auto known = known_.find(p); known != known_.end()) return known->second;
    if (!loaded_) {
      ASSIGN_OR_RETURN(LoadedModel first, Load(reference_));
      loaded_.emplace(std::move(first));
    }
    ASSIGN_OR_RETURN(const LoadedModel other, Load(p));
    ScoreOptions options;
    options.kv_type = other.kv_type;
    options.reference_kv_type = loaded_->kv_type;
    options.isa = loaded_->isa;
    ASSIGN_OR_RETURN(const auto scores, ScoreDocuments(*other.model, loaded_->model.get(),
                                                       documents_, options, *loaded_->pool));
    return known_.emplace(p, Summarise(scores)).first->second;
  }

 private:
  const Precision reference_;
  const std::vector<Document> documents_;
  std::optional<LoadedModel> loaded_;
  std::map<Precision, QualitySummary> known_;
};

}  // namespace

Result<std::vector<PredictionQuality>> MeasurePredictions(const PredictionSetup& setup,
                                                          const AblationPlan& plan,
                                                          const AblationResult& result) {
  std::set<std::string> wanted(result.candidates.begin(), result.candidates.end());
  wanted.emplace(kAllOn);
  for (const std::string& model : plan.candidate_models) wanted.insert(ModelName(model));
  const LabConfiguration* baseline = result.Find(kBaseline);
  const Stage stage = plan.confirmation_rounds > 0 ? Stage::kConfirmation : Stage::kScreening;
  std::vector<Document> documents = Texts(setup, result.state, stage);
  std::vector<PredictionQuality> found;
  if (documents.empty() || baseline == nullptr) return found;
  const Precision reference = PrecisionOf(setup, *baseline);
  PredictionComparison comparison(reference, std::move(documents));
  for (const LabConfiguration& c : result.configurations) {
    const Precision p = PrecisionOf(setup, c);
    if (!wanted.contains(c.name) || p == reference) continue;
    ASSIGN_OR_RETURN(const QualitySummary quality, comparison.Against(p));
    found.push_back({c.name, Described(p), quality});
  }
  return found;
}

}  // namespace millrace
