// Figures of the lab as JSON, alike in every verb that prints them.
#pragma once

#include <nlohmann/json.hpp>

#include "lab/quality.h"

namespace millrace {

inline nlohmann::ordered_json ToJson(const Interval& i) { return {i.low, i.high}; }

inline nlohmann::ordered_json ToJson(const QualitySummary& q, bool has_reference) {
  nlohmann::ordered_json out = {
      {"perplexity", q.perplexity}, {"perplexity_interval", ToJson(q.perplexity_interval)},
      {"loss", q.loss.mean},        {"loss_standard_error", q.loss.standard_error},
      {"tokens", q.loss.count},     {"documents", q.loss.clusters}};
  if (!has_reference) return out;
  out["ln_perplexity_ratio"] = q.log_ratio.mean;
  out["ln_perplexity_ratio_standard_error"] = q.log_ratio.standard_error;
  out["kl_mean"] = q.divergence.mean;
  out["kl_standard_error"] = q.divergence.standard_error;
  out["kl_p99"] = q.divergence_p99;
  out["kl_p99_interval"] = ToJson(q.divergence_p99_interval);
  out["same_top"] = q.same_top.mean;
  out["same_top_standard_error"] = q.same_top.standard_error;
  return out;
}

}  // namespace millrace
