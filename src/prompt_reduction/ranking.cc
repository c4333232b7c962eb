#include "prompt_reduction/ranking.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <utility>

#include "base/rng.h"
#include "prompt_reduction/search_terms.h"

namespace millrace {
namespace {

constexpr size_t kShingleWords = 5;

// FNV-1a, mixed: equal words are equal hashes; that two words collide is about 1 in 2^64.
uint64_t HashOf(std::string_view word) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : word) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return Mix64(hash);
}

void SortBestFirst(std::vector<RankedPassage>& ranking) {
  std::sort(ranking.begin(), ranking.end(), [](const RankedPassage& a, const RankedPassage& b) {
    return a.score != b.score ? a.score > b.score : a.passage < b.passage;
  });
}

// How often each word of the question stands in a passage, title words twice; and its length so.
struct Counts {
  std::vector<int> of_term;
  double length = 0;
};

}  // namespace

Result<PassageTerms> ReadTerms(std::string_view question, std::span<const Passage> passages) {
  ASSIGN_OR_RETURN(TermReader reader, TermReader::Create());
  PassageTerms terms;
  reader.Read(question, [&](std::string_view term) { terms.question.push_back(HashOf(term)); });
  std::sort(terms.question.begin(), terms.question.end());
  terms.question.erase(std::unique(terms.question.begin(), terms.question.end()),
                       terms.question.end());
  for (const Passage& passage : passages) {
    std::vector<uint64_t>& words = terms.words.emplace_back();
    const auto take = [&](std::string_view term) { words.push_back(HashOf(term)); };
    reader.Read(passage.title, take);
    terms.title_words.push_back(words.size());
    reader.Read(passage.text, take);
  }
  return terms;
}

std::vector<RankedPassage> RankByBm25(const PassageTerms& terms) {
  constexpr double kK1 = 1.2, kB = 0.75;
  std::unordered_map<uint64_t, size_t> place;
  for (size_t i = 0; i < terms.question.size(); ++i) place.emplace(terms.question[i], i);
  const size_t n = terms.words.size();
  std::vector<Counts> counts(n);
  std::vector<double> holders(terms.question.size());
  double total_length = 0;
  for (size_t p = 0; p < n; ++p) {
    counts[p].of_term.resize(terms.question.size());
    for (size_t w = 0; w < terms.words[p].size(); ++w) {
      const int weight = w < terms.title_words[p] ? 2 : 1;
      counts[p].length += weight;
      const auto found = place.find(terms.words[p][w]);
      if (found != place.end()) counts[p].of_term[found->second] += weight;
    }
    total_length += counts[p].length;
    for (size_t t = 0; t < holders.size(); ++t) holders[t] += counts[p].of_term[t] > 0 ? 1 : 0;
  }
  std::vector<RankedPassage> ranking;
  const double mean_length = std::max(total_length / static_cast<double>(n), 1.0);
  for (size_t p = 0; p < n; ++p) {
    double score = 0;
    for (size_t t = 0; t < holders.size(); ++t) {
      const double f = counts[p].of_term[t];
      if (f == 0) continue;
      const double idf =
          std::log1p((static_cast<double>(n) - holders[t] + 0.5) / (holders[t] + 0.5));
      score += idf * f * (kK1 + 1) / (f + kK1 * (1 - kB + kB * counts[p].length / mean_length));
    }
    if (score > 0) ranking.push_back({p, score});
  }
  SortBestFirst(ranking);
  return ranking;
}

std::vector<RankedPassage> FuseRankings(std::span<const std::vector<RankedPassage>> rankings,
                                        double k) {
  std::unordered_map<size_t, double> sums;
  for (const auto& ranking : rankings) {
    for (size_t i = 0; i < ranking.size(); ++i) {
      sums[ranking[i].passage] += 1 / (k + static_cast<double>(i + 1));
    }
  }
  std::vector<RankedPassage> fused;
  for (const auto& [passage, score] : sums) fused.push_back({passage, score});
  SortBestFirst(fused);
  return fused;
}

std::vector<uint64_t> Shingles(std::span<const uint64_t> words) {
  std::vector<uint64_t> shingles;
  const size_t count = words.size() >= kShingleWords ? words.size() - kShingleWords + 1 : size_t{1};
  for (size_t i = 0; i < count; ++i) {
    uint64_t hash = 0;
    for (const uint64_t word : words.subspan(i, std::min(kShingleWords, words.size() - i))) {
      hash = Mix64(hash + 1) ^ word;
    }
    shingles.push_back(hash);
  }
  std::sort(shingles.begin(), shingles.end());
  shingles.erase(std::unique(shingles.begin(), shingles.end()), shingles.end());
  return shingles;
}

double Jaccard(std::span<const uint64_t> a, std::span<const uint64_t> b) {
  size_t common = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i] == b[j]) {
      ++common, ++i, ++j;
    } else {
      ++(a[i] < b[j] ? i : j);
    }
  }
  const size_t all = a.size() + b.size() - common;
  return all == 0 ? 0 : static_cast<double>(common) / static_cast<double>(all);
}

std::vector<RankedPassage> Diversify(std::vector<RankedPassage> ranking,
                                     std::span<const std::vector<uint64_t>> shingles,
                                     double lambda) {
  if (lambda >= 1 || ranking.empty()) return ranking;
  const double best = std::max(ranking[0].score, 1e-12);
  std::vector<double> likeness(ranking.size());  // the greatest to what was taken
  for (size_t taken = 0; taken + 1 < ranking.size(); ++taken) {
    const auto value = [&](size_t i) {
      return lambda * ranking[i].score / best - (1 - lambda) * likeness[i];
    };
    size_t next = taken;
    for (size_t i = taken + 1; i < ranking.size(); ++i) {
      if (value(i) > value(next)) next = i;
    }
    const auto move = [&](auto& list) {
      const auto from = list.begin() + static_cast<std::ptrdiff_t>(taken);
      std::rotate(from, list.begin() + static_cast<std::ptrdiff_t>(next),
                  list.begin() + static_cast<std::ptrdiff_t>(next) + 1);
    };
    move(ranking);
    move(likeness);
    for (size_t i = taken + 1; i < ranking.size(); ++i) {
      likeness[i] = std::max(
          likeness[i], Jaccard(shingles[ranking[i].passage], shingles[ranking[taken].passage]));
    }
  }
  return ranking;
}

}  // namespace millrace
