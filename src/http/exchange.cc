#include "http/exchange.h"

#include <utility>

#include "http/responder.h"

namespace millrace {

Exchange::Exchange(size_t buffer_limit, std::function<void()> wake)
    : buffer_limit_(buffer_limit), wake_(std::move(wake)) {}

void Exchange::WakeAndUnlock(std::unique_lock<std::mutex>& lock) {
  const bool post = std::exchange(waits_, false);
  lock.unlock();
  if (post) wake_();
}

bool Exchange::SendWhole(HttpResponse response) {
  std::unique_lock lock(mutex_);
  if (phase_ != Phase::kWaiting) return false;
  phase_ = Phase::kAnswered;
  output_.whole = std::move(response);
  WakeAndUnlock(lock);
  return true;
}

bool Exchange::StartStream(HttpResponse head) {
  std::unique_lock lock(mutex_);
  if (phase_ != Phase::kWaiting || disconnected_) return false;
  phase_ = Phase::kStreaming;
  output_.stream_head = std::move(head);
  WakeAndUnlock(lock);
  return true;
}

bool Exchange::Append(std::string_view bytes) {
  std::unique_lock lock(mutex_);
  if (phase_ != Phase::kStreaming || disconnected_) return false;
  output_.bytes += bytes;
  const bool fits = output_.bytes.size() <= buffer_limit_;
  if (!fits) {
    phase_ = Phase::kAnswered;
    output_.bytes = std::string();
    output_.failed = true;
    overflowed_ = true;
    waits_ = true;  // for the write under way, which is to be broken off
  }
  WakeAndUnlock(lock);
  return fits;
}

bool Exchange::FinishStream(std::vector<HttpHeader> trailers) {
  std::unique_lock lock(mutex_);
  if (phase_ != Phase::kStreaming) return false;
  phase_ = Phase::kAnswered;
  output_.stream_finished = true;
  output_.trailers = std::move(trailers);
  WakeAndUnlock(lock);
  return true;
}

void Exchange::Abandon() {
  std::unique_lock lock(mutex_);
  if (phase_ == Phase::kStreaming) {
    phase_ = Phase::kAnswered;
    output_.failed = true;
  } else if (phase_ == Phase::kWaiting) {
    phase_ = Phase::kAnswered;
    output_.whole.emplace().status = 500;  // the connection words it
  } else {
    return;
  }
  WakeAndUnlock(lock);
}

void Exchange::OnDisconnect(std::function<void()> callback) {
  std::unique_lock lock(mutex_);
  if (phase_ == Phase::kComplete && !disconnected_) return;
  if (!disconnected_) {
    std::swap(on_disconnect_, callback);
    lock.unlock();  // the old callback is destroyed outside the lock
    return;
  }
  lock.unlock();
  if (callback) callback();
}

bool Exchange::disconnected() const {
  std::lock_guard lock(mutex_);
  return disconnected_;
}

bool Exchange::overflowed() const {
  std::lock_guard lock(mutex_);
  return overflowed_;
}

Exchange::Output Exchange::Take() {
  std::lock_guard lock(mutex_);
  waits_ = output_.empty();
  return std::exchange(output_, Output());
}

void Exchange::Disconnect() {
  std::function<void()> callback;
  {
    std::lock_guard lock(mutex_);
    if (disconnected_ || phase_ == Phase::kComplete) return;
    disconnected_ = true;
    callback = std::exchange(on_disconnect_, nullptr);
  }
  if (callback) callback();
}

void Exchange::Complete() {
  std::function<void()> callback;
  std::lock_guard lock(mutex_);
  phase_ = Phase::kComplete;
  std::swap(callback, on_disconnect_);
  output_ = Output();
}

struct Responder::Handle {
  explicit Handle(std::shared_ptr<Exchange> e) : exchange(std::move(e)) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { exchange->Abandon(); }
  std::shared_ptr<Exchange> exchange;
};

Responder::Responder(std::shared_ptr<Exchange> exchange)
    : handle_(std::make_shared<Handle>(std::move(exchange))) {}

bool Responder::Send(HttpResponse response) const {
  return handle_->exchange->SendWhole(std::move(response));
}

bool Responder::StartEventStream(std::vector<HttpHeader> headers) const {
  HttpResponse head;
  head.content_type = "text/event-stream";
  head.headers = std::move(headers);
  head.headers.push_back({"Cache-Control", "no-cache"});
  head.headers.push_back({"X-Accel-Buffering", "no"});
  return handle_->exchange->StartStream(std::move(head));
}

bool Responder::SendEvent(std::string_view data, std::string_view name) const {
  std::string event;
  event.reserve(data.size() + name.size() + 16);
  if (!name.empty()) event.append("event: ").append(name) += '\n';
  while (true) {
    const size_t newline = data.find('\n');
    event += "data: ";
    event += data.substr(0, newline);
    event += '\n';
    if (newline == std::string_view::npos) break;
    data.remove_prefix(newline + 1);
  }
  event += '\n';
  return handle_->exchange->Append(event);
}

bool Responder::SendComment(std::string_view text) const {
  std::string comment = ": " + std::string(text) + "\n\n";
  for (size_t i = 0; i + 2 < comment.size(); ++i) {
    if (comment[i] == '\n' || comment[i] == '\r') comment[i] = ' ';
  }
  return handle_->exchange->Append(comment);
}

bool Responder::Close(std::vector<HttpHeader> trailers) const {
  return handle_->exchange->FinishStream(std::move(trailers));
}

void Responder::OnDisconnect(std::function<void()> callback) const {
  handle_->exchange->OnDisconnect(std::move(callback));
}

bool Responder::disconnected() const { return handle_->exchange->disconnected(); }

}  // namespace millrace
