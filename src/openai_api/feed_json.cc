#include "openai_api/feed_json.h"

#include <algorithm>

#include "openai_api/json_fields.h"

namespace millrace {
namespace {

using openai_internal::Dump;
using openai_internal::Json;

Json OrNull(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json FiguresJson(const LatencyFigures& f) {
  return {{"count", f.count},     {"p50", OrNull(f.p50)}, {"p90", OrNull(f.p90)},
          {"p95", OrNull(f.p95)}, {"p99", OrNull(f.p99)}, {"most", OrNull(f.most)}};
}

Json SpeculationJson(const SpeculationStats& s) {
  Json json = {{"verifications", s.verifications},
               {"verified_tokens", s.verified_tokens},
               {"drafting_ms", Milliseconds(s.drafting)},
               {"verifying_ms", Milliseconds(s.verifying)},
               {"saved_ms", Milliseconds(s.saved)},
               {"drafters", Json::object()},
               {"drafted_at", s.drafted_at},
               {"accepted_at", s.accepted_at}};
  for (size_t kind = 0; kind < kDrafterKinds; ++kind) {
    json["drafters"][std::string(NameOf(static_cast<DrafterKind>(kind)))] = {s.drafted[kind],
                                                                             s.accepted[kind]};
  }
  return json;
}

Json StepArray(const TimelineStep& step, TimePoint start) {
  Json parts = Json::array();
  for (const TimelinePart& p : step.parts) {
    parts.push_back(Json::array({p.request.value, static_cast<int>(p.kind), p.tokens, p.drafted,
                                 p.emitted, p.cached, p.finished ? 1 : 0}));
  }
  return Json::array({step.number, Milliseconds(step.begun - start), Milliseconds(step.took),
                      step.waiting, std::move(parts)});
}

Json StepArrays(std::span<const TimelineStep> steps, TimePoint start) {
  Json list = Json::array();
  for (const TimelineStep& step : steps) list.push_back(StepArray(step, start));
  return list;
}

Json ContiguousJson(const ContiguousMap& map) {
  Json regions = Json::array(), no_room = Json::array();
  for (const ContiguousRegion& r : map.regions)
    regions.push_back(Json::array({r.request.value, r.first, r.blocks, r.filled}));
  for (const RequestId request : map.no_room) no_room.push_back(request.value);
  return {{"blocks", map.blocks},
          {"regions", std::move(regions)},
          {"no_room", std::move(no_room)},
          {"reserved_slots", map.reserved_slots},
          {"filled_slots", map.filled_slots},
          {"unusable_blocks", map.unusable_blocks}};
}

bool SameUse(const KvBlockUse& a, const KvBlockUse& b) {
  return a.cached == b.cached && a.pinned == b.pinned && a.filled == b.filled &&
         a.requests == b.requests;
}

}  // namespace

std::string LoadJson(const LoadFigures& load) {
  const EngineStats& e = load.engine;
  Json json = {{"running", e.running},
               {"waiting", e.waiting},
               {"blocks_total", e.blocks_total},
               {"blocks_held", e.blocks_held},
               {"blocks_cached", e.blocks_cached},
               {"blocks_pinned", e.blocks_pinned},
               {"kv_bytes", e.kv_bytes},
               {"steps", e.steps},
               {"computed_tokens", e.tokens_computed},
               {"prompt_tokens", load.prompt_tokens},
               {"generated_tokens", load.generated_tokens},
               {"preemptions", e.preemptions},
               {"deadlines_missed", e.expired},
               {"prefix_queries", e.prefix_queries},
               {"prefix_hits", e.prefix_hits},
               {"prefix_evictions", e.prefix_evictions},
               {"attention_seconds", e.model.attention_seconds},
               {"attention_bytes", e.model.attention_bytes_written}};
  json["ended"] = load.ended;
  json["first_token"] = FiguresJson(load.first_token);
  json["between_tokens"] = FiguresJson(load.between_tokens);
  json["speculation"] = SpeculationJson(e.speculation);
  return Dump(json);
}

std::string EndedRequestsJson(std::span<const EndedRequest> requests) {
  Json list = Json::array();
  for (const EndedRequest& r : requests) {
    Json ledger = Json::object();
    for (const auto& [name, value] : LedgerOf(r.usage)) {
      std::visit([&, key = std::string(name)](auto number) { ledger[key] = number; }, value);
    }
    list.push_back({{"serial", r.serial},
                    {"id", r.id},
                    {"end", r.end},
                    {"status", r.status},
                    {"arrival_ms", r.arrival_ms},
                    {"total_ms", r.total_ms},
                    {"first_token_ms", r.first_token_ms},
                    {"finish", r.finish_reasons},
                    {"prompt_tokens", r.usage.prompt_tokens},
                    {"completion_tokens", r.usage.completion_tokens},
                    {"ledger", std::move(ledger)}});
  }
  return Dump(list);
}

std::string StepsJson(std::span<const TimelineStep> steps, TimePoint start) {
  return Dump(StepArrays(steps, start));
}

std::string StepNamesJson(std::span<const TimelineStep> steps,
                          const std::map<RequestId, std::string>& names) {
  Json json = Json::object();
  for (const TimelineStep& step : steps) {
    for (const TimelinePart& part : step.parts) {
      const auto name = names.find(part.request);
      if (name != names.end()) json[std::to_string(part.request.value)] = name->second;
    }
  }
  return Dump(json);
}

std::string StaticReplayJson(const StaticReplay& replay) {
  return Dump({{"places", replay.places},
               {"steps", replay.steps},
               {"busy", replay.busy},
               {"static_steps", replay.static_steps},
               {"static_busy", replay.static_busy},
               {"ms", replay.ms},
               {"busy_ms", replay.busy_ms},
               {"static_ms", replay.static_ms},
               {"static_busy_ms", replay.static_busy_ms},
               {"replayed", StepArrays(replay.replayed, TimePoint{})}});
}

std::string BlockRunsJson(const KvMap& map, const ContiguousMap& contiguous) {
  Json runs = Json::array();
  int64_t filled = 0, held = 0;
  for (size_t at = 0; at < map.blocks.size();) {
    const KvBlockUse& use = map.blocks[at];
    size_t end = at + 1;
    while (end < map.blocks.size() && SameUse(use, map.blocks[end])) ++end;
    Json requests = Json::array();
    for (const RequestId request : use.requests) requests.push_back(request.value);
    runs.push_back(Json::array(
        {end - at, (use.cached ? 1 : 0) + (use.pinned ? 2 : 0), use.filled, std::move(requests)}));
    if (!use.requests.empty()) {
      held += static_cast<int64_t>(end - at);
      filled += static_cast<int64_t>(end - at) * use.filled;
    }
    at = end;
  }
  Json sequences = Json::array();
  for (const KvSequenceUse& s : map.sequences)
    sequences.push_back(Json::array({s.request.value, s.computed, s.most}));
  return Dump({{"layout", map.layout == KvLayout::kPaged ? "paged" : "contiguous"},
               {"block_tokens", kBlockTokens},
               {"blocks", map.blocks.size()},
               {"runs", std::move(runs)},
               {"held_slots", held * kBlockTokens},
               {"filled_slots", filled},
               {"sequences", std::move(sequences)},
               {"contiguous", ContiguousJson(contiguous)}});
}

std::string PrefixRunsJson(std::span<const ShownRun> runs, size_t left_out) {
  Json list = Json::array();
  for (const ShownRun& shown : runs) {
    const PrefixRun& run = shown.run;
    list.push_back(Json::array({run.before ? Json(*run.before) : Json(nullptr), run.tokens,
                                run.blocks, run.in_use, run.pinned ? 1 : 0, run.used,
                                shown.text ? Json(*shown.text) : Json(nullptr)}));
  }
  return Dump({{"runs", std::move(list)}, {"left_out", left_out}});
}

std::string AboutJson(const ServerFacts& facts) {
  const ModelInfo& info = facts.info;
  Json json = {{"version", facts.version},
               {"model", facts.model},
               {"chat", facts.chat},
               {"context_length", facts.context_length},
               {"max_running", facts.max_running},
               {"max_step_tokens", facts.max_step_tokens},
               {"block_tokens", kBlockTokens},
               {"architecture", info.architecture},
               {"parameters", info.parameters},
               {"weight_bytes", info.weight_bytes},
               {"layers", info.kv_shape.layers},
               {"heads", info.heads},
               {"kv_heads", info.kv_shape.kv_heads},
               {"head_dim", info.kv_shape.head_dim},
               {"stores", facts.stores}};
  Json& switches = json["switches"] = Json::object();
  for (const auto& [name, value] : facts.switches) switches[name] = value;
  return Dump(json);
}

std::string MeasureStateJson(const MeasureState& state, std::string_view report) {
  std::vector<std::pair<std::string, std::string>> parts = {
      {"state", Dump(state.state)},       {"switches", Dump(state.switches)},
      {"done", Dump(state.done)},         {"total", Dump(state.total)},
      {"progress", Dump(state.progress)}, {"message", Dump(state.message)},
      {"serial", Dump(state.serial)}};
  if (!report.empty()) parts.emplace_back("report", report);
  return ObjectOf(parts);
}

ApiResult<MeasureOrder> ParseMeasureOrder(std::string_view body) {
  const auto parsed = openai_internal::ParseJsonObject(body);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return *error;
  openai_internal::Fields fields(std::get<Json>(parsed));
  MeasureOrder order;
  if (const auto minutes = fields.Number("minutes", 0, 1e6)) order.minutes = *minutes;
  const Json* switches = fields.Find("switches");
  if (switches != nullptr && switches->is_array()) {
    for (const Json& name : *switches) {
      if (name.is_string()) order.switches.push_back(name.get<std::string>());
    }
  }
  if (switches == nullptr || !switches->is_array() || order.switches.size() != switches->size())
    fields.Fail("switches", "'switches' must be an array of names.");
  if (!fields.ok()) return fields.error();
  return order;
}

std::string AttentionJson(const AttentionMeasured& measured) {
  const auto way = [](const AttentionMeasured::Way& w) {
    std::vector<double> sorted = w.ms;
    std::sort(sorted.begin(), sorted.end());
    return Json{{"ms", w.ms},
                {"median_ms", sorted.empty() ? Json(nullptr) : Json(sorted[sorted.size() / 2])},
                {"intermediate_bytes", w.intermediate_bytes},
                {"largest_difference", w.largest_difference}};
  };
  return Dump({{"tokens", measured.tokens},
               {"kv_bytes", measured.kv_bytes},
               {"reference_rows", measured.reference_rows},
               {"standard", way(measured.standard)},
               {"flash", way(measured.flash)}});
}

ApiResult<int32_t> ParseProbeTokens(std::string_view body, int32_t least, int32_t most) {
  const auto parsed = openai_internal::ParseJsonObject(body);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return *error;
  openai_internal::Fields fields(std::get<Json>(parsed));
  const auto tokens = fields.Int("tokens", least, most);
  if (!fields.ok()) return fields.error();
  if (!tokens) {
    ApiError error = HttpApiError(400, "'tokens' is missing: how long the prompt is to be.");
    error.param = "tokens";
    return error;
  }
  return static_cast<int32_t>(*tokens);
}

std::string ObjectOf(std::span<const std::pair<std::string, std::string>> parts) {
  std::string text;
  for (const auto& [name, json] : parts) {
    text += text.empty() ? "{" : ",";
    text += Dump(Json(name)) + ":" + json;
  }
  return text.empty() ? "{}" : text + "}";
}

}  // namespace millrace
