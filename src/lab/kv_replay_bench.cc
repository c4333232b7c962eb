// kv_replay azure FILE      how many requests the same KV memory holds, paged and contiguous
// kv_replay mooncake FILE   what the prefix cache finds, by memory
// Prints a Markdown table. The same input gives the same output: there is no clock in it.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "lab/kv_replay.h"

namespace millrace {
namespace {

std::string NameOf(const AdmissionReplay& options) {
  if (options.layout == KvLayout::kPaged) return "paged";
  switch (options.reserve) {
    case Reserve::kContext:
      return "contiguous, region of the context";
    case Reserve::kLongestAnswer:
      return "contiguous, prompt + longest answer";
    case Reserve::kOracle:
      return "contiguous, length known beforehand";
  }
  return {};
}

void PrintAdmission(std::span<const TraceRequest> trace) {
  fmt::print(
      "| lengths | memory, tokens | KV memory | mean running | most | paged holds | memory "
      "filled | taken but empty | free but unusable | compactions | blocks moved | "
      "preemptions |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n");
  constexpr int32_t kContext = 16384;  // holds every request of the trace
  constexpr int32_t kMemory = 8 * kContext;
  for (const int32_t divisor : {1, 2, 4}) {
    AdmissionReplay options;
    options.context = kContext / divisor;
    options.blocks = kMemory / divisor / kBlockTokens;
    options.scale = 1.0 / divisor;
    const AdmissionFigures paged = ReplayAdmission(trace, options);
    const auto print = [&](const AdmissionFigures& f) {
      fmt::print(
          "| 1/{} | {} | {} | {:.1f} | {} | {:.2f} x | {:.1f} % | {:.2f} % | {:.1f} % | {} | {} "
          "| {} |\n",
          divisor, options.blocks * kBlockTokens, NameOf(options), f.mean_running, f.most_running,
          paged.mean_running / f.mean_running, 100 * f.filled, 100 * f.unused, 100 * f.unusable,
          f.compactions, f.moved_blocks, f.preemptions);
      std::fflush(stdout);
    };
    print(paged);
    options.layout = KvLayout::kContiguous;
    for (const Reserve reserve : {Reserve::kContext, Reserve::kLongestAnswer, Reserve::kOracle}) {
      options.reserve = reserve;
      print(ReplayAdmission(trace, options));
    }
  }
}

double Percent(int64_t part, int64_t whole) {
  return whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

void PrintPrefixes(std::span<const TraceRequest> trace) {
  PrefixReplay options;
  const PrefixFigures ideal = IdealPrefixes(trace, options.tokens_per_trace_block);
  const int64_t distinct = DistinctBlocks(trace);
  int32_t longest = 0;  // blocks of a request, one for what rounding adds
  for (const TraceRequest& r : trace) {
    longest = std::max(longest, (r.input_tokens + r.output_tokens) / kTraceBlockTokens + 2);
  }
  fmt::print("Distinct prompt blocks: {} of {}; 512 tokens of the trace are {} here.\n\n", distinct,
             ideal.blocks, options.tokens_per_trace_block);
  fmt::print(
      "| memory, blocks | of the distinct | block hit rate | below the ideal, points | tokens "
      "from the cache | evicted blocks |\n|---|---|---|---|---|---|\n");
  const double best = Percent(ideal.hits, ideal.blocks);
  for (const double share :
       {1.0 / 256, 1.0 / 128, 1.0 / 64, 1.0 / 32, 1.0 / 16, 0.125, 0.25, 0.5, 0.75, 1.0, 1.25}) {
    options.blocks = static_cast<int32_t>(static_cast<double>(distinct) * share);
    if (options.blocks < longest) continue;  // not even one request fits
    const PrefixFigures f = ReplayPrefixes(trace, options);
    const double rate = Percent(f.hits, f.blocks);
    fmt::print("| {} | {:.1f} % | {:.2f} % | {:.2f} | {:.2f} % | {} |\n", options.blocks,
               100 * share, rate, best - rate, Percent(f.cached, f.tokens), f.evicted);
    std::fflush(stdout);
  }
  fmt::print("| no limit, ideal | | {:.2f} % | 0 | {:.2f} % | 0 |\n", best,
             Percent(ideal.cached, ideal.tokens));
}

int Main(int argc, char** argv) {
  const std::string kind = argc == 3 ? argv[1] : "";
  if (kind != "azure" && kind != "mooncake") {
    std::fputs("usage: kv_replay azure|mooncake FILE\n", stderr);
    return 2;
  }
  std::ifstream file(argv[2], std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file) {
    fmt::print(stderr, "cannot read {}\n", argv[2]);
    return 1;
  }
  const auto trace = kind == "azure" ? ParseAzureTrace(text) : ParseMooncakeTrace(text);
  if (!trace.ok()) {
    fmt::print(stderr, "{}: {}\n", argv[2], trace.error().message);
    return 1;
  }
  if (kind == "azure") {
    PrintAdmission(*trace);
  } else {
    PrintPrefixes(*trace);
  }
  return 0;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
