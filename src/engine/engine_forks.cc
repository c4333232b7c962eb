// Several answers to one prompt: one request computes it, and the others begin from its blocks with
// the row of logits that it ends with. Until then they are kept in it, unknown to the scheduler.
#include <algorithm>
#include <utility>

#include "engine/engine_state.h"

namespace millrace {
namespace {

std::optional<PrefixUse> UseOf(const LiveRequest& request) {
  if (!request.prefix_cache) return std::nullopt;
  return PrefixUse{request.cache_space, &request.tokens};
}

}  // namespace

int32_t Engine::State::CountWithForks(const LiveRequest& request) {
  return 1 + static_cast<int32_t>(request.forks.size());
}

void Engine::State::Begin(LiveRequest&& request) {
  // A region belongs to one sequence: each computes the prompt.
  std::vector<LiveRequest> apart;
  if (config.scheduler.layout == KvLayout::kContiguous) apart = std::exchange(request.forks, {});
  const RequestId id = request.id;
  const LiveRequest& begun = live.emplace(id, std::move(request)).first->second;
  scheduler.Add(id, begun.timings.prompt_tokens, begun.max_length, UseOf(begun), begun.terms);
  for (LiveRequest& fork : apart) Begin(std::move(fork));
}

// The prompt of `parent` is computed, and `row` of logits is the one behind it.
void Engine::State::BeginForks(LiveRequest& parent, MatrixView<const float> row, TimePoint now) {
  for (LiveRequest& waiting : std::exchange(parent.forks, {})) {
    const RequestId id = waiting.id;
    LiveRequest& fork = live.emplace(id, std::move(waiting)).first->second;
    LeaveQueue(fork, *parent.first_scheduled);
    fork.restored = true;
    fork.prompt_scores = parent.prompt_scores;
    fork.reached = parent.reached;
    fork.timings.cached_tokens = parent.timings.cached_tokens;
    outcomes.push_back(VerifyOne(fork, nullptr, row, now));
    births.push_back({parent.id, id});
  }
}

// After the scheduler's Commit, before those that ended leave it.
void Engine::State::CommitForks() {
  for (const Birth& birth : births) {
    const auto ended = [&birth](const Outcome& outcome) {
      return outcome.request->id == birth.child && outcome.finish;
    };
    if (std::any_of(outcomes.begin(), outcomes.end(), ended)) continue;
    const LiveRequest& fork = live.at(birth.child);
    scheduler.Fork(birth.parent, birth.child, static_cast<int32_t>(fork.tokens.size()),
                   fork.max_length, UseOf(fork), fork.terms);
  }
}

// Ends a fork that has not begun, if there is one of that name.
void Engine::State::EndFork(RequestId id, FinishReason reason) {
  for (auto& [parent, request] : live) {
    const auto fork = std::find_if(request.forks.begin(), request.forks.end(),
                                   [id](const LiveRequest& one) { return one.id == id; });
    if (fork == request.forks.end()) continue;
    LiveRequest ended = std::move(*fork);
    request.forks.erase(fork);
    const FinishInfo finish = FinishInfoOf(ended, reason, {});
    LeaveQueue(ended, clock.Now());
    (void)Call(ended.sink, Event{.request = id, .tokens = {}, .draft = {}, .finish = finish});
    ++progress.finished;
    return;
  }
}

// `ended` leaves before its forks began: the first of them takes its place.
void Engine::State::Promote(LiveRequest& ended) {
  if (ended.forks.empty()) return;
  LiveRequest heir = std::move(ended.forks.front());
  heir.forks.assign(std::make_move_iterator(ended.forks.begin() + 1),
                    std::make_move_iterator(ended.forks.end()));
  ended.forks.clear();
  Begin(std::move(heir));
}

}  // namespace millrace
