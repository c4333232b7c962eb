// libFuzzer target: any bytes as a question and documents. What is kept are pieces of the
// documents, each passage has one fate, and a budget holds.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "prompt_reduction/reduce.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  if (size < 4) return 0;
  ReductionConfig config;
  config.mode = static_cast<ReductionMode>(data[0] % 3);
  config.order = static_cast<PassageOrder>(data[1] % 3);
  config.chunk_tokens = data[2];
  config.most = data[2] % 8;
  config.diversity_lambda = data[3] % 4 == 0 ? 0.5 : 1.0;
  if (data[3] % 2 == 1) config.token_budget = data[3];
  // Parts end with 0x1e: the question, then text, title, id of one document after the other.
  const std::string_view text(reinterpret_cast<const char*>(data) + 4, size - 4);
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == '\x1e') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  std::vector<Passage> documents;
  for (size_t i = 1; i < parts.size(); i += 3) {
    Passage& document = documents.emplace_back();
    document.text = parts[i];
    if (i + 1 < parts.size()) document.title = parts[i + 1];
    if (i + 2 < parts.size()) document.id = parts[i + 2];
  }
  const auto count = [](std::string_view t) { return static_cast<int64_t>(t.size()); };
  const auto reduced = ReducePrompt(parts[0], documents, config, count);
  Require(reduced.ok());
  Require(reduced->passages() >= reduced->kept.size());
  Require(reduced->tokens_after <= reduced->tokens_before);
  size_t kept = 0;
  for (size_t f = 0; f < kPassageFates; ++f) {
    if (IsKept(static_cast<PassageFate>(f))) kept += reduced->fate[f];
  }
  Require(kept == reduced->kept.size());
  for (const JudgedPassage& j : reduced->kept) {
    Require(j.passage.document < documents.size());
    const Passage& of = documents[j.passage.document];
    Require(of.text.compare(j.passage.begin, j.passage.text.size(), j.passage.text) == 0);
    Require(of.id == j.passage.id && of.title == j.passage.title);
  }
  return 0;
}
