// What 64 streams cost the engine's thread beside the model: with formatters, and with text and
// JSON made on that thread (formatters 0). Time is that thread's own CPU time, whatever else runs.
#include <benchmark/benchmark.h>
#include <time.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "http/test_client.h"
#include "server/server.h"
#include "tokenizer/tokenizer_test_vocabulary.h"

namespace millrace {
namespace {

constexpr int kStreams = 64;
constexpr int kTokens = 200;

double ThreadSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Costs next to nothing, and takes five milliseconds: as if others computed.
class IdleModel : public Model {
 public:
  explicit IdleModel(int32_t vocabulary) {
    info_.architecture = "idle";
    info_.vocab_size = vocabulary;
    info_.context_length = 4096;
    info_.kv_shape = {.layers = 1, .kv_heads = 1, .head_dim = 2};
  }
  const ModelInfo& info() const override { return info_; }
  MatrixView<const float> Forward(const Batch& batch, KvStore&) override {
    const double start = ThreadSeconds();
    int64_t rows = 0;
    for (const BatchSequence& s : batch.sequences) rows += s.logit_rows;
    logits_.assign(static_cast<size_t>(rows * info_.vocab_size), 0.0f);
    for (int64_t row = 0; row < rows; ++row) {  // letters
      logits_[static_cast<size_t>(row * info_.vocab_size + 'a' + (row + ++calls_) % 26)] = 1.0f;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ++steps;
    seconds = seconds + (ThreadSeconds() - start);
    return {logits_.data(), rows, info_.vocab_size, info_.vocab_size};
  }
  std::atomic<int64_t> steps{0};
  std::atomic<double> seconds{0};  // of the engine's thread, in here

 private:
  ModelInfo info_;
  std::vector<float> logits_;
  int64_t calls_ = 0;
};

void Stream(uint16_t port) {
  const std::string body =
      R"({"prompt": "hello", "stream": true, "ignore_eos": true, "temperature": 0, "max_tokens": )" +
      std::to_string(kTokens) + "}";
  const ClientResponse response = TestClient(port).Post("/v1/completions", body);
  CHECK(response.status == 200 && response.complete);
}

void BM_EngineThread(benchmark::State& state) {
  Result<Tokenizer> tokenizer = BytePairVocabulary().Load();
  CHECK(tokenizer.ok());
  auto kv = KvStore::Create({.layers = 1, .kv_heads = 1, .head_dim = 2}, KvType::kF32, 4096);
  CHECK(kv.ok());
  auto model = std::make_unique<IdleModel>(tokenizer->vocab_size());
  IdleModel& idle = *model;
  EngineConfig engine_config;
  engine_config.scheduler.max_running = kStreams;
  Engine engine(engine_config, std::move(model), std::move(kv).value());
  double engine_seconds = 0;
  std::thread thread([&] {
    engine.Run();
    engine_seconds = ThreadSeconds();
  });
  ServerConfig config;
  config.formatters = static_cast<int>(state.range(0));
  config.random = [random = std::make_shared<std::mt19937_64>(1)] { return (*random)(); };
  config.workers = 1;
  {
    ServedModel served;
    served.id = "idle";
    served.tokenizer = &*tokenizer;
    served.engine = &engine;
    Server server(std::move(config), std::move(served));
    CHECK(server.Start().ok());
    for (auto _ : state) {
      std::vector<std::thread> clients;
      for (int i = 0; i < kStreams; ++i) clients.emplace_back(Stream, server.port());
      for (std::thread& client : clients) client.join();
    }
  }
  engine.Stop();
  thread.join();
  state.counters["engine_thread_us_per_step"] =
      (engine_seconds - idle.seconds) * 1e6 / static_cast<double>(idle.steps);
}
BENCHMARK(BM_EngineThread)
    ->ArgName("formatters")
    ->Arg(0)
    ->Arg(1)
    ->Arg(0)
    ->Arg(1)
    ->Iterations(2)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
