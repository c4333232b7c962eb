#include "paged_kv/kv_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "paged_kv/block_pool.h"

namespace millrace {
namespace {

constexpr int64_t kMostBytes = std::numeric_limits<int64_t>::max();

// Of a unit behind a number; nothing where it is none. "k" and "KiB" are 1024, "kB" too.
std::optional<double> UnitOf(std::string unit) {
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (unit.ends_with("ib")) {
    unit.resize(unit.size() - 2);
  } else if (unit.ends_with("b")) {
    unit.pop_back();
  }
  if (unit.empty()) return 1.0;
  constexpr std::string_view kPrefixes = "kmgt";
  const size_t power = unit.size() == 1 ? kPrefixes.find(unit[0]) : std::string_view::npos;
  if (power == std::string_view::npos) return std::nullopt;
  return std::ldexp(1.0, 10 * (static_cast<int>(power) + 1));
}

std::string InMiB(int64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

int64_t BytesOf(const KvBudget& budget, const KvDemand& demand) {
  if (budget.bytes) return *budget.bytes;
  const auto free = static_cast<double>(demand.free_bytes);
  if (budget.share) return static_cast<int64_t>(free * *budget.share);
  int64_t useful = 0;
  if (__builtin_mul_overflow(int64_t{BlocksFor(demand.context_length)} * demand.max_running,
                             demand.block_bytes, &useful)) {
    useful = kMostBytes;
  }
  return std::min(useful, demand.free_bytes / 4);
}

}  // namespace

Result<KvBudget> ParseKvBudget(std::string_view text) {
  const Error error{"'" + std::string(text) +
                    "' is no amount of KV memory: give bytes such as 2GiB or 512MiB, or a share of "
                    "the free memory such as 50%"};
  double number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (status != std::errc() || !(number > 0) || std::isinf(number)) {
    return error;
  }
  std::string unit(end, text.data() + text.size());
  unit.erase(0, unit.find_first_not_of(' ') == std::string::npos ? 0 : unit.find_first_not_of(' '));
  if (unit == "%") {
    if (number > 100) return error;
    return KvBudget{.bytes = {}, .share = number / 100};
  }
  const std::optional<double> scale = UnitOf(unit);
  if (!scale) return error;
  const double bytes = number * *scale;
  if (bytes < 1) return error;
  return KvBudget{.bytes = bytes < 0x1p62 ? static_cast<int64_t>(bytes) : kMostBytes, .share = {}};
}

Result<KvPlan> PlanKv(const KvBudget& budget, const KvDemand& demand) {
  const int64_t bytes = BytesOf(budget, demand);
  if (bytes > demand.free_bytes) {
    return Error{fmt::format("the KV cache is to have {}, but only {} of memory are free: lower "
                             "--kv-memory, give it a share such as 50%, or free memory",
                             InMiB(bytes), InMiB(demand.free_bytes)),
                 ErrorKind::kExhausted};
  }
  KvPlan plan;
  plan.blocks = static_cast<int32_t>(std::min<int64_t>(bytes / demand.block_bytes, 1 << 30));
  if (plan.blocks < 1) {
    return Error{
        fmt::format("the KV cache needs at least {} bytes for one block of {} tokens, but "
                    "{} are allowed: raise --kv-memory",
                    demand.block_bytes, kBlockTokens, bytes)};
  }
  plan.context_length = demand.context_length;
  const int32_t needed = BlocksFor(demand.context_length);
  if (needed > plan.blocks) {
    if (demand.context_is_required) {
      return Error{
          fmt::format("a context of {} tokens needs {} of KV cache, but {} are allowed: "
                      "raise --kv-memory or lower --context",
                      demand.context_length, InMiB(needed * demand.block_bytes), InMiB(bytes))};
    }
    plan.context_length = plan.blocks * kBlockTokens;
  }
  plan.bytes = plan.blocks * demand.block_bytes;
  return plan;
}

}  // namespace millrace
