// The state file: JSON, one object.
#include <nlohmann/json.hpp>

#include "lab/ablation.h"

namespace millrace {

std::string ToJson(const AblationState& state) {
  nlohmann::json json;
  json["fingerprint"] = state.fingerprint;
  json["requests_per_run"] = state.requests_per_run;
  nlohmann::json& runs = json["runs"] = nlohmann::json::array();
  for (const RunRecord& r : state.runs) {
    runs.push_back({{"stage", std::string(NameOf(r.stage))},
                    {"round", r.round},
                    {"configuration", r.configuration},
                    {"values", r.values},
                    {"failures", r.failures},
                    {"items", r.items},
                    {"texts", r.texts},
                    {"samples", r.samples},
                    {"itl_quantiles", r.itl_quantiles}});
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<AblationState> ParseAblationState(std::string_view text) {
  const Error wrong{"the state file is not one that `measure` wrote: remove it to start anew"};
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    AblationState state;
    state.fingerprint = json.at("fingerprint").get<std::string>();
    state.requests_per_run = json.at("requests_per_run").get<size_t>();
    for (const nlohmann::json& r : json.at("runs")) {
      RunRecord run;
      const auto stage = r.at("stage").get<std::string>();
      if (stage != NameOf(Stage::kScreening) && stage != NameOf(Stage::kConfirmation)) return wrong;
      run.stage = stage == NameOf(Stage::kScreening) ? Stage::kScreening : Stage::kConfirmation;
      run.round = r.at("round").get<int>();
      run.configuration = r.at("configuration").get<std::string>();
      run.values = r.at("values").get<std::map<std::string, double>>();
      run.failures = r.at("failures").get<std::map<std::string, int64_t>>();
      run.items = r.at("items").get<std::vector<size_t>>();
      run.texts = r.at("texts").get<std::vector<std::string>>();
      run.samples = r.at("samples").get<std::map<std::string, std::vector<double>>>();
      run.itl_quantiles = r.at("itl_quantiles").get<std::vector<double>>();
      if (run.texts.size() != run.items.size()) return wrong;
      state.runs.push_back(std::move(run));
    }
    return state;
  } catch (const nlohmann::json::exception&) {
    return wrong;
  }
}

}  // namespace millrace
