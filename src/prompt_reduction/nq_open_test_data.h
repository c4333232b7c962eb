// The shared questions of nq-open with their one gold passage each, for the test and the benchmark
// of what reduction keeps: questions in a row, and one pool of all passages.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "prompt_reduction/reduce.h"
#include "tests/test_paths.h"

namespace millrace {

struct NqOpen {
  struct Question {
    std::string text;
    std::vector<std::string> answers;
  };
  std::vector<Question> questions;
  std::vector<Passage> pool;
};

// Nothing where the shared data or gzip is absent.
inline std::optional<NqOpen> LoadNqOpen() {
  const std::string path = SharedDir() + "/data/nq-open-oracle.jsonl.gz";
  const std::string command = "gzip -dc '" + path + "' 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  if (!pipe) return std::nullopt;
  std::string text, buffer(1 << 16, '\0');
  while (const size_t got = fread(buffer.data(), 1, buffer.size(), pipe.get()))
    text.append(buffer, 0, got);
  NqOpen data;
  std::unordered_set<std::string> seen;
  for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    const auto line = nlohmann::json::parse(text.substr(at, end - at));
    data.questions.push_back({line["question"], line["answers"]});
    for (const auto& passage : line["ctxs"]) {
      const std::string title = passage["title"], body = passage["text"];
      if (!seen.insert(title + '\n' + body).second) continue;
      data.pool.push_back({.id = std::to_string(data.pool.size()), .title = title, .text = body});
    }
  }
  if (data.questions.empty()) return std::nullopt;
  return data;
}

// Of the questions: the share whose answer stands in a kept passage's text, and the mean tokens of
// the kept passages as they stand in a prompt, numbers and titles included (characters by four).
struct NqScore {
  double coverage = 0;
  double tokens = 0;
};

class NqJudge {
 public:
  explicit NqJudge(const NqOpen& data) : data_(data), reader_(TermReader::Create().value()) {
    terms_ = ReadTerms(reader_, data.pool);
  }

  // Questions `first`, `first + step`, ...
  NqScore Score(const ReductionConfig& config, size_t first, size_t step) {
    NqScore score;
    double questions = 0;
    for (size_t q = first; q < data_.questions.size(); q += step, ++questions) {
      const NqOpen::Question& question = data_.questions[q];
      auto ranking = RankByBm25(ReadQuestion(reader_, question.text), terms_);
      // Candidates alone: the rest would only be copied.
      if (ranking.size() > kCandidates) ranking.resize(kCandidates);
      Candidates candidates;
      for (RankedPassage& ranked : ranking) {
        candidates.passages.push_back(data_.pool[ranked.passage]);
        candidates.words.push_back(terms_.words[ranked.passage]);
        ranked.passage = candidates.passages.size() - 1;
      }
      candidates.ranking = std::move(ranking);
      const auto reduced = ReduceRanked(std::move(candidates), config, Characters);
      bool covered = false;
      for (const JudgedPassage& j : reduced.kept) {
        score.tokens += static_cast<double>(j.tokens) / 4;
        for (const std::string& answer : question.answers)
          covered = covered || j.passage.text.find(answer) != std::string::npos;
      }
      score.coverage += covered ? 1 : 0;
    }
    score.coverage /= questions;
    score.tokens /= questions;
    return score;
  }

 private:
  static constexpr size_t kCandidates = 50;

  static int64_t Characters(std::string_view text) {
    return std::count_if(text.begin(), text.end(),
                         [](char c) { return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u; });
  }

  const NqOpen& data_;
  TermReader reader_;
  PassageTerms terms_;
};

}  // namespace millrace
