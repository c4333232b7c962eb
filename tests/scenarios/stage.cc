#include "tests/scenarios/stage.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "base/rng.h"
#include "gguf/gguf.h"
#include "simd/isa.h"

namespace millrace::scenarios {

// Passes everything on, and notes what it was.
class Stage::Lent : public Model {
 public:
  explicit Lent(Stage& stage) : stage_(stage) {}

  const ModelInfo& info() const override { return stage_.model_->info(); }
  MatrixView<const float> Forward(const Batch& batch, KvStore& kv) override {
    StepRows rows;
    for (const BatchSequence& s : batch.sequences) {
      (s.tokens.size() == 1 ? rows.decode : rows.prefill) += static_cast<int32_t>(s.tokens.size());
    }
    const TimePoint start = clock_.Now();
    const MatrixView<const float> logits = stage_.model_->Forward(batch, kv);
    rows.forward = clock_.Now() - start;
    stage_.last_ = rows;
    return logits;
  }

 private:
  Stage& stage_;
  Clock clock_;
};

Result<std::unique_ptr<Stage>> Stage::Load(const std::string& path, int threads,
                                           int32_t max_positions) {
  std::unique_ptr<Stage> stage(new Stage());
  ASSIGN_OR_RETURN(const MappedGguf mapped, MappedGguf::Open(path));
  stage->pool_ = std::make_unique<ThreadPool>(
      threads > 0 ? threads : static_cast<int>(std::thread::hardware_concurrency()));
  TransformerOptions options;
  options.isa = DetectIsa();
  options.max_positions = max_positions;
  ASSIGN_OR_RETURN(stage->model_, Transformer::Load(mapped.file(), options, *stage->pool_));
  return stage;
}

std::unique_ptr<Engine> Stage::MakeEngine(const EngineConfig& config, int32_t blocks) {
  auto kv = KvStore::Create(model_->info().kv_shape, KvType::kBf16, blocks);
  CHECK(kv.ok());
  return std::make_unique<Engine>(config, std::make_unique<Lent>(*this), std::move(kv).value());
}

size_t Run::Submit(int32_t prompt_tokens, int32_t output_tokens, uint64_t seed) {
  Request request;
  CounterRng rng(seed, 17);
  const auto vocabulary = static_cast<uint64_t>(stage_.model().info().vocab_size);
  for (int32_t i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back(TokenId(static_cast<int32_t>(rng.NextU64() % vocabulary)));
  }
  request.max_tokens = output_tokens;
  request.sampling.temperature = 0;
  requests_.push_back(std::make_unique<RequestRecord>());
  RequestRecord& record = *requests_.back();
  record.submitted = clock_.Now();
  const auto id = engine_->Submit(std::move(request), [this, &record](const Event& event) {
    for (size_t i = 0; i < event.tokens.size(); ++i) record.tokens.push_back(clock_.Now());
    if (event.finish) record.finished = true;
  });
  CHECK(id.ok());
  return requests_.size() - 1;
}

bool Run::Step() {
  const int64_t before = engine_->stats().steps;
  const TimePoint start = clock_.Now();
  const bool any_left = engine_->Step();
  if (engine_->stats().steps > before) steps_.push_back({stage_.last(), clock_.Now() - start});
  return any_left;
}

double Percentile(std::vector<double> values, double share) {
  CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(share * static_cast<double>(values.size()));
  return values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

}  // namespace millrace::scenarios
