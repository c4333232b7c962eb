#include "server/live_feed.h"

#include <algorithm>
#include <future>
#include <optional>

#include "engine/cache_space.h"
#include "server/insights_route.h"
#include "server/static_replay.h"

namespace millrace::server_internal {
namespace {

constexpr std::chrono::milliseconds kPatience{200};  // with a long step, before a map is left out

// What `ask` hands on, if it comes soon.
template <class T, class Ask>
std::optional<T> Soon(Ask ask) {
  auto promise = std::make_shared<std::promise<T>>();
  std::future<T> future = promise->get_future();
  ask([promise](const T& value) { promise->set_value(value); });
  if (future.wait_for(kPatience) != std::future_status::ready) return std::nullopt;
  return future.get();
}

}  // namespace

Result<FeedTopics> ParseTopics(std::string_view words) {
  FeedTopics topics;
  while (!words.empty()) {
    const size_t end = std::min(words.find(','), words.size());
    const std::string_view word = words.substr(0, end);
    words.remove_prefix(std::min(end + 1, words.size()));
    if (word == "steps") {
      topics.steps = true;
    } else if (word == "kv") {
      topics.kv = true;
    } else if (word == "prefixes") {
      topics.prefixes = true;
    } else {
      return Error{"topics must be some of steps, kv and prefixes, as in topics=steps,kv."};
    }
  }
  return topics;
}

LiveFeed::LiveFeed(std::shared_ptr<Shared> shared)
    : shared_(std::move(shared)), thread_([this] { Run(); }) {}

LiveFeed::~LiveFeed() { Stop(); }

void LiveFeed::Watch(const ContextPointer& context, FeedTopics topics) {
  std::unique_lock lock(mutex_);
  if (stopping_ || watchers_.size() >= kMostWatchers) {
    lock.unlock();
    return context->Refuse(ToApiError(
        {"Too many dashboards are open: close one and try again.", ErrorKind::kExhausted}));
  }
  std::vector<HttpHeader> headers = context->IdHeaders();
  headers.push_back({"X-Content-Type-Options", "nosniff"});
  if (!context->responder().StartEventStream(std::move(headers)))
    return context->Log(499, EndState::kCancelled);
  watchers_.push_back({context, topics});
  lock.unlock();
  wake_.notify_one();
}

void LiveFeed::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void LiveFeed::Run() {
  std::unique_lock lock(mutex_);
  for (int64_t tick = 0; !stopping_; ++tick) {
    wake_.wait(lock, [&] { return stopping_ || !watchers_.empty(); });
    std::erase_if(watchers_, [](Watcher& w) {
      if (!w.context->responder().disconnected()) return false;
      w.context->Log(200, EndState::kCompleted);
      return true;
    });
    std::vector<Watcher*> watchers;
    for (Watcher& w : watchers_) watchers.push_back(&w);
    lock.unlock();  // only this thread takes watchers out
    Tick(std::move(watchers), tick % 2 == 0);
    lock.lock();
    wake_.wait_for(lock, kInterval, [&] { return stopping_; });
  }
  for (Watcher& w : watchers_) {
    w.context->Log(200, EndState::kCompleted);
    w.context->responder().Close();
  }
  watchers_.clear();
}

void LiveFeed::Tick(std::vector<Watcher*> watchers, bool with_maps) {
  FeedTopics wanted;
  for (const Watcher* w : watchers) {
    with_maps = with_maps || w->fresh;
    wanted.steps |= w->topics.steps;
    wanted.kv |= w->topics.kv;
    wanted.prefixes |= w->topics.prefixes;
  }
  if (watchers.empty()) return;
  const Parts all = Gather(wanted, with_maps);
  std::optional<PrefixPicture> prefixes;
  if (wanted.prefixes && with_maps) {
    Engine& engine = *shared_->model.engine;
    prefixes =
        Soon<PrefixPicture>([&](auto look) { engine.InspectPrefixes(kRuns, std::move(look)); });
  }
  for (Watcher* w : watchers) {
    Parts parts;
    w->fresh = false;
    for (const auto& part : all) {
      const bool steps = part.first == "steps" || part.first == "names" || part.first == "static";
      if ((steps && !w->topics.steps) || (part.first == "kv" && !w->topics.kv)) continue;
      parts.push_back(part);
    }
    if (prefixes && w->topics.prefixes)
      parts.emplace_back("prefixes", PrefixesFor(*prefixes, w->context->key()));
    const auto ended = shared_->recent.Since(w->seen_requests);
    if (!ended.empty()) {
      w->seen_requests = ended.back().serial;
      parts.emplace_back("ended", EndedRequestsJson(ended));
    }
    w->context->responder().SendEvent(ObjectOf(parts));
  }
}

LiveFeed::Parts LiveFeed::Gather(FeedTopics topics, bool with_maps) {
  Parts parts;
  parts.emplace_back("now_ms",
                     fmt::format("{:.3f}", Milliseconds(shared_->clock.Now() - shared_->started)));
  parts.emplace_back("load", LoadJson(shared_->metrics.Load(shared_->model.engine->stats())));
  parts.emplace_back("insights", CurrentInsights(*shared_));
  if (const auto& measure = shared_->config.dashboard->measure; measure.state && with_maps)
    parts.emplace_back("measure", MeasureStateJson(measure.state()));
  if (topics.steps) AddSteps(parts);
  if (topics.kv && with_maps) AddKv(parts);
  return parts;
}

void LiveFeed::AddSteps(Parts& parts) const {
  const Engine& engine = *shared_->model.engine;
  const std::vector<TimelineStep> steps = engine.LastSteps(kSteps);
  parts.emplace_back("steps", StepsJson(steps, shared_->started));
  parts.emplace_back("names", StepNamesJson(steps, shared_->names.All()));
  parts.emplace_back("static", StaticReplayJson(ReplayStatically(steps, engine.config().scheduler,
                                                                 engine.stats().step_cost)));
}

void LiveFeed::AddKv(Parts& parts) {
  Engine& engine = *shared_->model.engine;
  const auto map =
      Soon<KvMap>([&](auto look) { engine.InspectKv(std::move(look), Engine::KvLook::kBlocks); });
  if (map) parts.emplace_back("kv", BlockRunsJson(*map, contiguous_.Update(*map)));
}

// The text of a run is told to whoever may use it, under any adapter: its namespace is that of the
// key alone.
std::string LiveFeed::PrefixesFor(const PrefixPicture& picture, const std::string& key) const {
  std::vector<ShownRun> shown;
  for (const PrefixRun& run : picture.runs) {
    ShownRun& s = shown.emplace_back(ShownRun{.run = run, .text = {}});
    if (RequestSpaceOf(run.space) == CacheSpace(key, ""))
      s.text = shared_->model.tokenizer->Decode(run.head, ControlTokens::kShow);
  }
  return PrefixRunsJson(shown, picture.left_out);
}

}  // namespace millrace::server_internal
