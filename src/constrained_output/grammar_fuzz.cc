// Any bytes as a grammar, a regular expression or a JSON schema: an error that a client can read,
// or a grammar whose masks agree with what the matcher takes, along a walk that the input chooses
// too. The first byte chooses which, the next eight the walk.
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/rng.h"
#include "constrained_output/output_grammar.h"

namespace {

using namespace millrace;

std::shared_ptr<const OutputVocabulary> SmallVocabulary() {
  std::vector<OutputVocabulary::Token> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back({std::string(1, char(byte)), false});
  for (const char* text : {"ab", "\":", "\", \"", "}}", "123", "\xE2\x82", "[[", "  ", "aaaa"}) {
    tokens.push_back({text, false});
  }
  tokens.push_back({"<end>", true});
  return std::make_shared<OutputVocabulary>(
      tokens, std::vector{TokenId(static_cast<int32_t>(tokens.size()) - 1)});
}

void Walk(const std::shared_ptr<const OutputGrammar>& grammar, uint64_t seed) {
  OutputMatcher matcher(grammar);
  CounterRng rng(seed, 0);
  // Masks are bounded one by one, so the slowest grammars there may be are followed less far.
  const std::clock_t end = std::clock() + 2 * CLOCKS_PER_SEC;
  for (int step = 0; step < 24 && std::clock() < end; ++step) {
    const auto mask = matcher.Mask();
    if (!mask.ok()) return;
    std::vector<TokenId> allowed;
    for (int32_t id = 0; id < grammar->vocabulary().size(); ++id) {
      OutputMatcher copy = matcher;
      const bool taken = copy.Take(TokenId(id));
      CHECK(taken == (*mask)->Allows(TokenId(id)));
      if (taken) allowed.push_back(TokenId(id));
    }
    CHECK(!allowed.empty());
    const TokenId next = allowed[rng.NextU64() % allowed.size()];
    CHECK(matcher.Take(next));
    if (grammar->vocabulary().IsEnd(next)) return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 9) return 0;
  static const auto vocabulary = SmallVocabulary();
  uint64_t seed = 0;
  for (size_t i = 1; i < 9; ++i) seed = seed << 8 | data[i];
  const std::string_view text(reinterpret_cast<const char*>(data) + 9, size - 9);
  const auto grammar = data[0] % 3 == 0   ? OutputGrammar::FromRegex(text, vocabulary)
                       : data[0] % 3 == 1 ? OutputGrammar::FromGbnf(text, vocabulary)
                                          : OutputGrammar::FromJsonSchema(text, vocabulary);
  if (grammar.ok()) {
    Walk(*grammar, seed);
  } else {
    CHECK(!grammar.error().message.empty() && grammar.error().message.size() < 1024);
  }
  return 0;
}
