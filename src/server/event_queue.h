// EventQueue: the events of one generation on their way from the engine's thread to the thread that
// makes text and JSON of them. From any thread.
//
// Invariant: events are handled one at a time, in the order in which they were pushed; each is
// handled once, by the Drain that is under way when it is pushed or by one that its pusher owes.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <utility>

#include "engine/request.h"

namespace millrace::server_internal {

class EventQueue {
 public:
  // True: nobody drains, and the caller must see to it that Drain is called.
  [[nodiscard]] bool Push(size_t choice, Event event) {
    const std::lock_guard lock(mutex_);
    events_.emplace_back(choice, std::move(event));
    return !std::exchange(draining_, true);
  }

  // Calls handle(choice, event) until the queue is empty.
  template <class Handle>
  void Drain(const Handle& handle) {
    for (;;) {
      std::pair<size_t, Event> next;
      {
        const std::lock_guard lock(mutex_);
        if (events_.empty()) {
          draining_ = false;
          return;
        }
        next = std::move(events_.front());
        events_.pop_front();
      }
      handle(next.first, next.second);
    }
  }

 private:
  std::mutex mutex_;
  std::deque<std::pair<size_t, Event>> events_;
  bool draining_ = false;
};

}  // namespace millrace::server_internal
