// A large store: how fast it is built and searched. Not Google Benchmark's form: one store serves
// all measurements.
//
//     passage_store_bench PASSAGES [FILE] [WIDTH]
//
// WIDTH: the store holds vectors of so many numbers, by chance (0, the default: none).
// The passages are made of sentences of the shared nq-open passages, mixed, with invented names;
// the questions are nq-open's own. FILE (default: passage_store_bench.db here) is made anew and
// removed.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "prompt_reduction/candidates.h"
#include "prompt_reduction/nq_open_test_data.h"
#include "prompt_reduction/passage_store.h"
#include "prompt_reduction/sentence_chunks.h"

namespace millrace {
namespace {

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

class MixedPassages {
 public:
  explicit MixedPassages(const NqOpen& data) {
    for (const Passage& passage : data.pool) {
      for (const TextSpan& s : ChunkAtSentences(passage.text, 10))
        sentences_.push_back(passage.text.substr(s.begin, s.end - s.begin));
      titles_.push_back(passage.title);
    }
  }
  StoredDocument Make(size_t number) {
    std::string text;
    while (text.size() < 440) text += sentences_[random_() % sentences_.size()] + " ";
    for (uint64_t name = random_() % 500'000, i = 0; i < 6; ++i, name /= 13)
      text += static_cast<char>('a' + name % 13 + i);
    return {std::to_string(number), titles_[random_() % titles_.size()], std::move(text)};
  }

 private:
  std::vector<std::string> sentences_, titles_;
  std::mt19937_64 random_{11};
};

// Vectors of length about 1 that depend on the text and mean nothing.
VectorModel ChanceModel(int32_t width) {
  VectorModel model = {"chance", width, {}, {}};
  model.embed = [width](std::span<const std::string> texts) -> Result<std::vector<float>> {
    std::vector<float> vectors;
    for (const std::string& text : texts) {
      std::minstd_rand random(static_cast<uint32_t>(HashOfTerm(text)));
      const float scale = std::sqrt(3.0f / static_cast<float>(width)) / 0x1p30f;
      for (int32_t i = 0; i < width; ++i)
        vectors.push_back((static_cast<float>(random()) - 0x1p30f) * scale);
    }
    return vectors;
  };
  const std::string probe = kVectorProbe;
  model.probe = model.embed({&probe, 1}).value();
  return model;
}

int Run(size_t passages, const std::string& path, int32_t width) {
  const auto data = LoadNqOpen();
  if (!data) return std::fputs("needs ../shared/data/nq-open-oracle.jsonl.gz\n", stderr), 1;
  const auto remove = [&] {
    for (const char* end : {"", "-wal", "-shm"}) std::remove((path + end).c_str());
  };
  remove();
  const VectorModel model = ChanceModel(std::max(width, 1));
  auto store = PassageStore::Create(path, width > 0 ? &model : nullptr);
  if (!store.ok()) return std::fprintf(stderr, "%s\n", store.error().message.c_str()), 1;
  MixedPassages mixed(*data);
  double seconds = 0;
  for (size_t at = 0; at < passages;) {
    std::vector<StoredDocument> batch;
    for (; batch.size() < 20'000 && at < passages; ++at) batch.push_back(mixed.Make(at));
    const auto begin = std::chrono::steady_clock::now();
    if (const Status added = store->Add(batch); !added.ok())
      return std::fprintf(stderr, "%s\n", added.error().message.c_str()), 1;
    seconds += SecondsSince(begin);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("built %zu passages in %.1f s: %.0f a second; peak memory %ld MiB\n", passages,
              seconds, static_cast<double>(passages) / seconds, usage.ru_maxrss >> 10);
  auto reader = PassageStore::Open(path, PassageStore::Access::kRead);
  if (!reader->UseModel(model).ok()) return 1;
  std::vector<double> times;
  for (size_t q = 0; q<data->questions.size(); q += width> 0 ? 25 : 5) {
    const auto begin = std::chrono::steady_clock::now();
    if (!reader->Search(data->questions[q].text, 50).ok()) return 1;
    times.push_back(1000 * SecondsSince(begin));
  }
  getrusage(RUSAGE_SELF, &usage);
  std::sort(times.begin(), times.end());
  const auto at = [&](double share) {
    return times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))];
  };
  std::printf(
      "searched %zu questions: median %.1f ms, p95 %.1f ms, most %.1f ms; peak memory %ld "
      "MiB\n",
      times.size(), at(0.5), at(0.95), at(1.0), usage.ru_maxrss >> 10);
  remove();
  return 0;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  const size_t passages = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0;
  if (passages == 0) {
    return std::fputs("usage: passage_store_bench PASSAGES [FILE] [WIDTH]\n", stderr), 2;
  }
  return millrace::Run(passages, argc > 2 ? argv[2] : "passage_store_bench.db",
                       argc > 3 ? std::atoi(argv[3]) : 0);
}
