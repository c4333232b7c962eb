// Exchange: one answer on its way from the thread that makes it to the connection that writes it.
//
// Producers (any thread) append; the connection (its strand) takes what is there and writes it, and
// waits only when it has found nothing. A wake-up is posted only to one that waits, once, so many
// small events become one write, and an answer made at once needs none. Invariant:
// at most `buffer_limit` bytes wait here, plus the one event that crossed the limit; a whole
// response is not limited (its maker holds it already).
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace millrace {

class Exchange {
 public:
  // `wake` is called, from any thread, when there is something after Take() has found nothing.
  Exchange(size_t buffer_limit, std::function<void()> wake);

  // Producers.
  bool SendWhole(HttpResponse response);
  bool StartStream(HttpResponse head);
  bool Append(std::string_view bytes);
  bool FinishStream(std::vector<HttpHeader> trailers = {});
  void Abandon();
  void OnDisconnect(std::function<void()> callback);
  bool disconnected() const;

  // Whether the stream went over the limit: the write under way is not worth waiting for.
  bool overflowed() const;

  // The connection.
  struct Output {
    std::optional<HttpResponse> whole;
    std::optional<HttpResponse> stream_head;
    std::string bytes;             // of the stream, unframed
    bool stream_finished = false;  // `bytes` are the last
    std::vector<HttpHeader> trailers;
    bool failed = false;  // abandoned or over the limit: close the connection
    bool empty() const {
      return !whole && !stream_head && bytes.empty() && !stream_finished && !failed;
    }
  };
  Output Take();
  // The client has gone: fires the callback (once). A whole response may still be sent and taken.
  void Disconnect();
  // The answer has been written, or the connection is closed: nothing more is accepted; the
  // callback is dropped.
  void Complete();

 private:
  enum class Phase { kWaiting, kStreaming, kAnswered, kComplete };
  void WakeAndUnlock(std::unique_lock<std::mutex>& lock);

  const size_t buffer_limit_;
  const std::function<void()> wake_;
  mutable std::mutex mutex_;
  Phase phase_ = Phase::kWaiting;
  Output output_;
  bool waits_ = false;  // the last Take found nothing, and no wake-up has been posted since
  bool disconnected_ = false;
  bool overflowed_ = false;
  std::function<void()> on_disconnect_;
};

}  // namespace millrace
