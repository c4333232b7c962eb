#include "prompt_reduction/sentence_extraction.h"

#include <algorithm>

#include "prompt_reduction/ranking.h"
#include "prompt_reduction/sentence_chunks.h"

namespace millrace {

void ExtractSentences(TermReader& reader, std::string_view question, double ratio,
                      std::span<Passage* const> passages) {
  std::vector<Passage> sentences;
  std::vector<TextSpan> spans;  // of sentences, in their passage
  std::vector<size_t> ends;     // of each passage's sentences
  for (const Passage* passage : passages) {
    for (const TextSpan& span : Sentences(passage->text)) {
      spans.push_back(span);
      Passage& sentence = sentences.emplace_back();
      sentence.text = passage->text.substr(span.begin, span.end - span.begin);
    }
    ends.push_back(sentences.size());
  }
  std::vector<double> scores(sentences.size());
  for (const RankedPassage& ranked :
       RankByBm25(ReadQuestion(reader, question), ReadTerms(reader, sentences))) {
    scores[ranked.passage] = ranked.score;
  }
  size_t begin = 0;
  for (size_t p = 0; p < passages.size(); begin = ends[p++]) {
    const auto first_score = scores.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last_score = scores.begin() + static_cast<std::ptrdiff_t>(ends[p]);
    const double best = first_score == last_score ? 0 : *std::max_element(first_score, last_score);
    if (best <= 0) continue;
    size_t first = ends[p], last = begin;
    for (size_t s = begin; s < ends[p]; ++s) {
      if (scores[s] < ratio * best) continue;
      first = std::min(first, s);
      last = s;
    }
    if (first > begin) --first;
    Passage& passage = *passages[p];
    const size_t from = spans[first].begin;
    passage.text = passage.text.substr(from, spans[last].end - from);
    passage.begin += from;
  }
}

}  // namespace millrace
