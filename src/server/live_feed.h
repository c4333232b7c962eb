// LiveFeed: GET /debug/events: one stream of events that tells a dashboard what the server does,
// four times a second. Internal to server/.
//
// Invariants: where nobody watches, nothing runs. At most kMostWatchers do; what one of them is
// told of other keys' requests are counts and ids, never text. Stop ends every stream properly.
#pragma once

#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/contiguous_picture.h"
#include "server/request_context.h"

namespace millrace::server_internal {

// GET /debug/events?topics=steps,kv,prefixes: what is told beside the load and the requests that
// ended.
struct FeedTopics {
  bool steps = false, kv = false, prefixes = false;
};
// Unknown words are an error that lists the choices.
Result<FeedTopics> ParseTopics(std::string_view words);

class LiveFeed {
 public:
  static constexpr size_t kMostWatchers = 16;
  static constexpr std::chrono::milliseconds kInterval{250};
  static constexpr size_t kSteps = 96;  // the last ones, that each event shows
  static constexpr size_t kRuns = 120;  // of cached blocks

  explicit LiveFeed(std::shared_ptr<Shared> shared);
  ~LiveFeed();
  LiveFeed(const LiveFeed&) = delete;
  LiveFeed& operator=(const LiveFeed&) = delete;

  // Starts the stream, which goes on until its client leaves or Stop. Refuses where too many watch.
  void Watch(const ContextPointer& context, FeedTopics topics);
  void Stop();

 private:
  struct Watcher {
    ContextPointer context;
    FeedTopics topics;
    int64_t seen_requests = 0;
    bool fresh = true;  // it gets everything at once
  };
  using Parts = std::vector<std::pair<std::string, std::string>>;

  void Run();
  void Tick(std::vector<Watcher*> watchers, bool with_maps);
  Parts Gather(FeedTopics topics, bool with_maps);
  void AddSteps(Parts& parts) const;
  void AddKv(Parts& parts);
  std::string PrefixesFor(const PrefixPicture& picture, const std::string& key) const;

  const std::shared_ptr<Shared> shared_;
  ContiguousPicture contiguous_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<Watcher> watchers_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace millrace::server_internal
