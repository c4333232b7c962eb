#include "openai_api/insights_json.h"

#include <nlohmann/json.hpp>

namespace millrace {
namespace {

using InsightsTree = nlohmann::ordered_json;

InsightsTree Saving(const char* name, const char* flag, double saved_ms, double computing_ms,
                    const char* by) {
  const double without = computing_ms + saved_ms;
  InsightsTree tree = {{"name", name}, {"switch", flag}, {"saved_ms", saved_ms}};
  tree["ratio"] = without > 0 ? InsightsTree(computing_ms / without) : InsightsTree();
  tree["by"] = by;
  return tree;
}

InsightsTree TreeOf(const SavingsSum& s, double seconds) {
  return {{"seconds", seconds},
          {"requests", s.requests},
          {"prompt_tokens", s.prompt_tokens},
          {"cached_tokens", s.cached_tokens},
          {"output_tokens", s.output_tokens},
          {"drafted_tokens", s.drafted_tokens},
          {"accepted_tokens", s.accepted_tokens},
          {"dropped_passages", s.dropped_passages},
          {"dropped_passage_tokens", s.dropped_passage_tokens},
          {"reduction_ms", s.reduction_ms},
          {"computing_ms", s.computing_ms},
          {"queued_ms", s.queued_ms},
          {"optimisations",
           InsightsTree::array(
               {Saving("prefix reuse", "prefix-cache", s.cached_saved_ms, s.computing_ms,
                       "cached tokens times the measured time of a prefill token"),
                Saving("speculation", "speculate", s.speculation_saved_ms, s.computing_ms,
                       "measured times of steps with drafts against plain ones"),
                Saving("prompt reduction", "reduce", s.reduction_saved_ms - s.reduction_ms,
                       s.computing_ms,
                       "dropped passages' tokens times the measured time of a prefill token, less "
                       "the time of choosing; answers may change")})}};
}

}  // namespace

std::string InsightsJson(const SavingsSum& now, double window_seconds, const SavingsSum& total,
                         double seconds, std::span<const RequestTimeEstimate> estimates) {
  InsightsTree request_time = InsightsTree::array();
  InsightsTree missing = {"quantization: another file would have to be loaded (millrace compare)"};
  for (const RequestTimeEstimate& e : estimates) {
    request_time.push_back({{"name", e.name},
                            {"switch", e.flag},
                            {"ratio", e.ratio},
                            {"requests", e.requests},
                            {"by", e.by}});
  }
  if (estimates.empty())
    missing.push_back(
        "requests' times: nothing was served lately, or what steps take is not measured yet");
  const InsightsTree tree = {
      {"now", TreeOf(now, window_seconds)},
      {"since_start", TreeOf(total, seconds)},
      {"request_time", std::move(request_time)},
      {"not_estimated", std::move(missing)},
      {"note", "estimates while serving; millrace measure compares with each switched off"}};
  return tree.dump();
}

}  // namespace millrace
