// usage: schema_answers MODEL.gguf COUNT < schemas.jsonl     For each line, a JSON schema, writes a
// line
// {"answers": [COUNT texts]}: random walks along the masks, over the model's vocabulary; or
// {"error": message}. Walks prefer what brings them to an end, as a model does; one of over 20,000
// tokens is an error.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/rng.h"
#include "constrained_output/output_grammar.h"
#include "tests/model_vocabulary.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

double WeightOf(const std::string& bytes) {
  double weight = 1.0;
  for (const char c : bytes) {
    if (c == '"' || c == ']' || c == '}') weight *= 30.0;
    if (c == '[' || c == '{' || c == ',') weight *= 0.2;
    if (static_cast<unsigned char>(c) >= 0x80) weight *= 0.3;
  }
  return weight;
}

Json AnswerTo(const std::shared_ptr<const OutputGrammar>& grammar,
              const std::vector<double>& weights, CounterRng& rng) {
  OutputMatcher matcher(grammar);
  std::string text;
  std::vector<std::pair<double, TokenId>> allowed;
  for (int step = 0; step < 20'000 && !matcher.IsFinished(); ++step) {
    if (matcher.IsWhole() && rng.NextDouble() < 0.3) return text;
    const auto mask = matcher.Mask();
    if (!mask.ok()) return {{"error", mask.error().message}};
    allowed.clear();
    double total = 0;
    for (int32_t i = 0; i < grammar->vocabulary().size(); ++i) {
      if (!(*mask)->Allows(TokenId(i))) continue;
      total += weights[static_cast<size_t>(i)];
      allowed.emplace_back(total, TokenId(i));
    }
    const double drawn = rng.NextDouble() * total;
    size_t chosen = 0;
    while (chosen + 1 < allowed.size() && allowed[chosen].first <= drawn) ++chosen;
    const TokenId token = allowed[chosen].second;
    if (!matcher.Take(token)) return {{"error", "the mask allows a token that is refused"}};
    if (matcher.IsEnd(token)) return text;
    text += grammar->vocabulary().token(token).bytes;
  }
  if (!matcher.IsWhole()) return {{"error", "the answer has no end: " + text.substr(0, 200)}};
  return text;
}

int Main(int argc, char** argv) {
  const auto vocabulary = argc == 3 ? LoadVocabulary(argv[1]) : nullptr;
  if (!vocabulary) {
    std::fprintf(stderr, "usage: schema_answers MODEL.gguf COUNT < schemas.jsonl\n");
    return 2;
  }
  std::vector<double> weights;
  for (int32_t i = 0; i < vocabulary->size(); ++i) {
    weights.push_back(WeightOf(vocabulary->token(TokenId(i)).bytes));
  }
  CounterRng rng(11, 12);
  for (std::string line; std::getline(std::cin, line);) {
    const auto grammar = OutputGrammar::FromJsonSchema(line, vocabulary);
    Json result;
    if (!grammar.ok()) result["error"] = grammar.error().message;
    for (int i = 0; grammar.ok() && i < std::atoi(argv[2]); ++i) {
      Json answer = AnswerTo(*grammar, weights, rng);
      if (answer.is_object()) {
        result = std::move(answer);
        break;
      }
      result["answers"].push_back(std::move(answer));
    }
    std::cout << result.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
