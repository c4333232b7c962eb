// KeyLoad: what each API key has under way and has lately used, and the limits on that. From any
// thread.
//
// Requests and tokens per minute are token buckets (Turner 1986, "New Directions in
// Communications", the leaky bucket as a meter): each holds a minute's worth at most and is filled
// evenly. A request's prompt is taken when it enters, its answer when it has ended: then the bucket
// may owe, and the next request waits until it is even.
// Invariant: what is entered is left exactly once, when its Ticket ends.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>

#include "base/clock.h"
#include "server/api_keys.h"

namespace millrace::server_internal {

class KeyLoad {
 public:
  // Must not outlive its KeyLoad.
  class Ticket {
   public:
    Ticket(Ticket&& other) noexcept
        : load_(std::exchange(other.load_, nullptr)),
          key_(std::move(other.key_)),
          tokens_(other.tokens_) {}
    Ticket& operator=(Ticket&& other) noexcept {
      std::swap(load_, other.load_);
      std::swap(key_, other.key_);
      std::swap(tokens_, other.tokens_);
      return *this;
    }
    ~Ticket() {
      if (load_ != nullptr) load_->Leave(key_, tokens_);
    }

   private:
    friend class KeyLoad;
    Ticket(KeyLoad* load, std::string key, int64_t tokens)
        : load_(load), key_(std::move(key)), tokens_(tokens) {}
    KeyLoad* load_;
    std::string key_;
    int64_t tokens_;
  };
  // Which limit is reached.
  enum class Limit { kRequests, kTokens, kRequestsPerMinute, kTokensPerMinute };
  struct Refusal {
    Limit limit = Limit::kRequests;
    Duration retry_after{};  // zero: when a request under way has ended
  };

  // Refused where the key has as many requests under way as it may, or would have more prompt
  // tokens with `tokens` more (a request that is alone may have any number, so that a long prompt
  // is not refused for ever), or has used up its minute (a full bucket admits any prompt). A
  // refusal takes nothing.
  std::variant<Ticket, Refusal> TryEnter(const std::string& key, int64_t tokens,
                                         const KeyLimits& limits, TimePoint now) {
    const std::lock_guard lock(mutex_);
    Load& load = loads_[key];
    if (limits.requests > 0 && load.requests >= limits.requests) {
      return Refusal{Limit::kRequests, {}};
    }
    if (limits.tokens > 0 && load.requests > 0 && load.tokens + tokens > limits.tokens) {
      return Refusal{Limit::kTokens, {}};
    }
    const Duration request_wait = load.request_rate.Wait(1, limits.requests_per_minute, now);
    if (request_wait > Duration(0)) return Refusal{Limit::kRequestsPerMinute, request_wait};
    const Duration token_wait = load.token_rate.Wait(tokens, limits.tokens_per_minute, now);
    if (token_wait > Duration(0)) return Refusal{Limit::kTokensPerMinute, token_wait};
    load.request_rate.Take(1);
    load.token_rate.Take(tokens);
    ++load.requests;
    load.tokens += tokens;
    return Ticket(this, key, tokens);
  }

  // The tokens of an answer.
  void Use(const std::string& key, int64_t tokens) {
    const std::lock_guard lock(mutex_);
    loads_[key].token_rate.Take(tokens);
  }

 private:
  struct Bucket {
    double used = 0;  // of what it holds when it is full
    TimePoint then{};

    // How long until `amount` may be taken. Empties nothing but what time has given back.
    Duration Wait(int64_t amount, int64_t per_minute, TimePoint now) {
      if (per_minute <= 0) {
        used = 0;
        return Duration(0);
      }
      const double per_second = static_cast<double>(per_minute) / 60;
      const double passed = std::chrono::duration<double>(now - then).count();
      used = std::max(0.0, used - passed * per_second);
      then = now;
      const double wanted = static_cast<double>(std::min(amount, per_minute));
      // A little more than nothing is rounding.
      const double missing = used + wanted - static_cast<double>(per_minute);
      if (missing <= 1e-6) return Duration(0);
      return std::chrono::duration_cast<Duration>(
          std::chrono::duration<double>(missing / per_second));
    }
    void Take(int64_t amount) { used += static_cast<double>(amount); }
  };
  struct Load {
    int64_t requests = 0;
    int64_t tokens = 0;
    Bucket request_rate, token_rate;
  };

  void Leave(const std::string& key, int64_t tokens) {
    const std::lock_guard lock(mutex_);
    Load& load = loads_[key];
    load.tokens -= tokens;
    --load.requests;
  }

  std::mutex mutex_;
  std::unordered_map<std::string, Load> loads_;  // of known keys only, so it is bounded
};

}  // namespace millrace::server_internal
