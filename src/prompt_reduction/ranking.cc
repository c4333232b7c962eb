#include "prompt_reduction/ranking.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>
#include <utility>

#include "base/rng.h"

namespace millrace {
namespace {

constexpr size_t kShingleWords = 5;

// Where the words of a question stand in passages.
struct Occurrences {
  struct Count {
    size_t term;  // of the question
    double times;
  };
  std::vector<Count> counts;    // passage after passage
  std::vector<size_t> ends;     // of each passage's counts
  std::vector<double> lengths;  // of passages, in words
  std::vector<double> holders;  // of terms: passages that have it
};

// A passage's counts of the question's words, and its length; title words weigh two.
class TermCounter {
 public:
  explicit TermCounter(std::span<const uint64_t> question) : times_(question.size()) {
    for (size_t i = 0; i < question.size(); ++i) {
      place_.emplace(question[i], i);
      mask_ |= Bit(question[i]);
    }
  }

  void Count(std::span<const uint64_t> words, size_t title_words, Occurrences& out) {
    touched_.clear();
    for (size_t w = 0; w < words.size(); ++w) {
      if ((mask_ & Bit(words[w])) == 0) continue;  // most words
      const auto found = place_.find(words[w]);
      if (found == place_.end()) continue;
      double& times = times_[found->second];
      if (times == 0) touched_.push_back(found->second);
      times += w < title_words ? 2 : 1;
    }
    std::sort(touched_.begin(), touched_.end());  // sums do not depend on the order of words
    for (const size_t term : touched_) {
      out.counts.push_back({term, std::exchange(times_[term], 0)});
      ++out.holders[term];
    }
    out.ends.push_back(out.counts.size());
    out.lengths.push_back(static_cast<double>(words.size() + title_words));
  }

 private:
  static uint64_t Bit(uint64_t word) { return uint64_t{1} << (word & 63); }

  std::unordered_map<uint64_t, size_t> place_;
  uint64_t mask_ = 0;  // of the question's words, to pass over most others
  std::vector<double> times_;
  std::vector<size_t> touched_;
};

CorpusCounts CountsOf(const Occurrences& found) {
  double total = 0;
  for (const double length : found.lengths) total += length;
  const auto passages = static_cast<double>(found.lengths.size());
  return {passages, total / std::max(passages, 1.0), found.holders};
}

}  // namespace

// FNV-1a, mixed: equal words are equal hashes; that two words collide is about 1 in 2^64.
uint64_t HashOfTerm(std::string_view term) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : term) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return Mix64(hash);
}

PassageTerms ReadTerms(TermReader& reader, std::span<const Passage> passages) {
  PassageTerms terms;
  for (const Passage& passage : passages) {
    std::vector<uint64_t>& words = terms.words.emplace_back();
    const auto take = [&](std::string_view term) { words.push_back(HashOfTerm(term)); };
    reader.Read(passage.title, take);
    terms.title_words.push_back(words.size());
    reader.Read(passage.text, take);
  }
  return terms;
}

std::vector<uint64_t> ReadQuestion(TermReader& reader, std::string_view question) {
  std::vector<uint64_t> words;
  reader.Read(question, [&](std::string_view term) { words.push_back(HashOfTerm(term)); });
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  return words;
}

std::vector<RankedPassage> RankByBm25(std::span<const uint64_t> question, const PassageTerms& terms,
                                      const CorpusCounts* counts) {
  constexpr double kK1 = 1.2, kB = 0.75;
  Occurrences found;
  found.holders.resize(question.size());
  TermCounter counter(question);
  for (size_t p = 0; p < terms.words.size(); ++p) {
    counter.Count(terms.words[p], terms.title_words[p], found);
  }
  const CorpusCounts own = counts == nullptr ? CountsOf(found) : CorpusCounts();
  if (counts == nullptr) counts = &own;
  std::vector<double> idf;
  for (const double holders : counts->holders) {
    idf.push_back(std::log1p((counts->passages - holders + 0.5) / (holders + 0.5)));
  }
  std::vector<RankedPassage> ranking;
  size_t at = 0;
  for (size_t p = 0; p < terms.words.size(); ++p) {
    const double mean_length = std::max(counts->mean_length, 1.0);
    const double norm = kK1 * (1 - kB + kB * found.lengths[p] / mean_length);
    double score = 0;
    for (; at < found.ends[p]; ++at) {
      const auto& [term, times] = found.counts[at];
      score += idf[term] * times * (kK1 + 1) / (times + norm);
    }
    if (score > 0) ranking.push_back({p, score});
  }
  std::stable_sort(
      ranking.begin(), ranking.end(),
      [](const RankedPassage& a, const RankedPassage& b) { return a.score > b.score; });
  return ranking;
}

std::vector<RankedPassage> FuseRanks(std::span<const std::vector<RankedPassage>> rankings) {
  constexpr double kRankConstant = 60;
  std::map<size_t, double> scores;
  for (const auto& ranking : rankings) {
    for (size_t i = 0; i < ranking.size(); ++i)
      scores[ranking[i].passage] += 1 / (kRankConstant + 1 + static_cast<double>(i));
  }
  std::vector<RankedPassage> fused;
  for (const auto& [passage, score] : scores) fused.push_back({passage, score});
  std::stable_sort(fused.begin(), fused.end(), [](const RankedPassage& a, const RankedPassage& b) {
    return a.score > b.score;
  });
  return fused;
}

std::vector<uint64_t> Shingles(std::span<const uint64_t> words) {
  std::vector<uint64_t> shingles;
  if (words.empty()) return shingles;
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
  std::vector<size_t> left(ranking.size());  // places in the ranking
  for (size_t i = 0; i < left.size(); ++i) left[i] = i;
  std::vector<double> likeness(ranking.size());  // the greatest to what was taken
  std::vector<RankedPassage> taken;
  while (!left.empty()) {
    const auto value = [&](size_t i) {
      return lambda * ranking[i].score / best - (1 - lambda) * likeness[i];
    };
    const auto next = std::max_element(left.begin(), left.end(),
                                       [&](size_t a, size_t b) { return value(a) < value(b); });
    const size_t one = *next;
    left.erase(next);
    taken.push_back(ranking[one]);
    for (const size_t i : left) {
      likeness[i] = std::max(likeness[i], Jaccard(shingles[i], shingles[one]));
    }
  }
  return taken;
}

}  // namespace millrace
