#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "lab/live_estimates.h"
#include "lab/report.h"
#include "lab/report_tables.h"

namespace millrace {
namespace {

using ReportTree = nlohmann::ordered_json;

// JSON has no infinity: null.
ReportTree Finite(double value) { return std::isfinite(value) ? ReportTree(value) : ReportTree(); }

ReportTree TreeOf(const Interval& i) { return ReportTree::array({Finite(i.low), Finite(i.high)}); }

ReportTree TreeOf(const MetricFinding& m, bool claimed) {
  ReportTree tree = {{"metric", m.metric},
                     {"baseline", m.baseline},
                     {"candidate", m.candidate},
                     {"ratio", Finite(m.effect.ratio)},
                     {"interval_95", TreeOf(m.effect.interval)},
                     {"one_sided_bounds_95", TreeOf(m.effect.bounds)},
                     {"rounds", m.effect.rounds},
                     {"deviation", m.effect.deviation},
                     {"sign_flip_p", m.effect.p},
                     {"holm_p", m.adjusted_p}};
  tree["verdict"] = claimed ? ReportTree(NameOf(m.verdict)) : ReportTree();
  return tree;
}

ReportTree TreeOf(const AnswerComparison& a) {
  ReportTree tree = {{"answers", a.answers},
                     {"differing", a.differing},
                     {"promised_equal", a.promised_equal},
                     {"first_difference", a.first_difference},
                     {"judged", a.judged}};
  if (a.judged == 0) return tree;
  tree["exact_match"] = {a.exact_before, a.exact_after};
  tree["f1"] = {a.f1_before, a.f1_after};
  tree["gained"] = a.quality.gained;
  tree["lost"] = a.quality.lost;
  tree["mcnemar_p"] = a.quality.mcnemar_p;
  tree["exact_match_difference_interval"] = TreeOf(a.quality.difference_interval);
  return tree;
}

ReportTree TreeOf(const Finding& f, bool claimed) {
  ReportTree tree = {{"subject", f.subject},
                     {"candidate", f.candidate},
                     {"baseline", f.baseline},
                     {"failures", f.failures}};
  ReportTree& metrics = tree["metrics"] = ReportTree::array();
  for (const MetricFinding& m : f.metrics) metrics.push_back(TreeOf(m, claimed));
  tree["answers"] = TreeOf(f.answers);
  return tree;
}

ReportTree TreeOf(const std::vector<Finding>& findings, bool claimed) {
  ReportTree list = ReportTree::array();
  for (const Finding& f : findings) list.push_back(TreeOf(f, claimed));
  return list;
}

ReportTree TreeOf(const ClusteredMean& m) {
  return {{"mean", Finite(m.mean)}, {"standard_error", Finite(m.standard_error)}};
}

ReportTree TreeOf(const PredictionQuality& p) {
  const QualitySummary& q = p.quality;
  return {{"configuration", p.configuration},
          {"precision", p.precision},
          {"tokens", q.divergence.count},
          {"clusters", q.divergence.clusters},
          {"kl", TreeOf(q.divergence)},
          {"kl_p99", q.divergence_p99},
          {"kl_p99_interval_95", TreeOf(q.divergence_p99_interval)},
          {"same_top", TreeOf(q.same_top)},
          {"ln_perplexity_ratio", TreeOf(q.log_ratio)}};
}

ReportTree PairsOf(const std::vector<std::pair<std::string, std::string>>& pairs) {
  ReportTree tree = ReportTree::object();
  for (const auto& [name, value] : pairs) tree[name] = value;
  return tree;
}

}  // namespace

std::string ReportJson(const ReportInput& in) {
  const Analysis& a = in.analysis;
  ReportTree tree;
  tree["workload"] = in.workload;
  tree["model"] = in.model;
  tree["replay"] = in.replay;
  tree["confirmed"] = a.confirmed;
  tree["stage"] = NameOf(a.stage);
  tree["rules"] = in.rules;
  tree["notes"] = in.notes;
  ReportTree& formulas = tree["metrics"] = ReportTree::object();
  for (const LabMetric& m : LabMetrics())
    formulas[m.key] = {{"label", m.label}, {"unit", m.unit}, {"formula", m.formula}};
  tree["same_against_itself"] = TreeOf(a.same, true);
  tree["same_is_null"] = a.same_is_null;
  tree["deviation_between_rounds"] = a.deviation;
  tree["detectable_effect"] = Finite(a.detectable);
  tree["switches"] = TreeOf(a.switches, a.confirmed);
  tree["switches_alone"] = TreeOf(a.alone, false);
  tree["candidates"] = TreeOf(a.candidates, a.confirmed);
  ReportTree& estimates = tree["live_estimates"] = ReportTree::array();
  for (const lab_internal::EstimateBeside& e : lab_internal::EstimatesBeside(in)) {
    estimates.push_back(
        {{"switch", e.flag}, {"of", e.of}, {"estimated", e.estimated}, {"measured", e.measured}});
  }
  ReportTree& predictions = tree["predictions"] = ReportTree::array();
  for (const PredictionQuality& p : a.predictions) predictions.push_back(TreeOf(p));
  ReportTree& retrieval = tree["retrieval"] = ReportTree::array();
  for (const lab_internal::RetrievalRow& r : lab_internal::RetrievalRows(in)) {
    retrieval.push_back({{"configuration", r.configuration},
                         {"requests_a_run", r.requests},
                         {"kept_passages", r.kept},
                         {"answer_coverage", r.coverage},
                         {"recall", r.recall},
                         {"prompt_tokens", r.prompt_tokens}});
  }
  tree["handicaps"] = TreeOf(a.handicaps, a.confirmed);
  tree["recommended"] = a.recommendation.configuration;
  tree["reasons"] = a.recommendation.reasons;
  tree["recommended_toml"] = in.recommended_toml;
  tree["machine"] = PairsOf(in.machine);
  tree["commands"] = PairsOf(in.commands);
  tree["workload_summary"] = {{"requests", in.summary.requests},
                              {"sessions", in.summary.sessions},
                              {"shared_prefix", in.summary.shared_prefix},
                              {"lookup_repetition", in.summary.lookup_repetition},
                              {"can_measure", in.summary.can_measure},
                              {"cannot_measure", in.summary.cannot_measure}};
  return tree.dump(2, ' ', false, ReportTree::error_handler_t::replace) + "\n";
}

std::string ReportCsv(const AblationState& state) {
  std::set<std::string> columns;
  for (const RunRecord& run : state.runs) {
    for (const auto& [name, value] : run.values) columns.insert(name);
  }
  std::string csv = "stage,round,configuration,failures";
  for (const std::string& column : columns) csv += "," + column;
  csv += "\n";
  for (const RunRecord& run : state.runs) {
    int64_t failures = 0;
    for (const auto& [reason, count] : run.failures) failures += count;
    std::string name = run.configuration;
    std::replace(name.begin(), name.end(), '"', '\'');
    csv += fmt::format("{},{},\"{}\",{}", NameOf(run.stage), run.round + 1, name, failures);
    for (const std::string& column : columns) {
      const auto value = run.values.find(column);
      csv += value == run.values.end() ? "," : fmt::format(",{:.6g}", value->second);
    }
    csv += "\n";
  }
  return csv;
}

}  // namespace millrace
