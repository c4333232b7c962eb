// KeyLoad: how many generations, of how many prompt tokens, each API key has under way, and the
// limits on that. From any thread.
// Invariant: what is entered is left exactly once, when its Ticket ends.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

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
  // 0: no limit.
  struct Limits {
    int64_t requests = 0;
    int64_t tokens = 0;
  };

  // None where the key has as many requests under way as it may, or where it would have more prompt
  // tokens with `tokens` more. A request that is alone may have any number, so that a long prompt
  // is not refused for ever.
  std::optional<Ticket> TryEnter(const std::string& key, int64_t tokens, const Limits& limits) {
    const std::lock_guard lock(mutex_);
    const auto found = loads_.find(key);
    const Load load = found == loads_.end() ? Load{} : found->second;
    if (limits.requests > 0 && load.requests >= limits.requests) return std::nullopt;
    if (limits.tokens > 0 && load.requests > 0 && load.tokens + tokens > limits.tokens) {
      return std::nullopt;
    }
    loads_[key] = {load.requests + 1, load.tokens + tokens};
    return Ticket(this, key, tokens);
  }

 private:
  struct Load {
    int64_t requests = 0;
    int64_t tokens = 0;
  };

  void Leave(const std::string& key, int64_t tokens) {
    const std::lock_guard lock(mutex_);
    const auto found = loads_.find(key);
    found->second.tokens -= tokens;
    if (--found->second.requests == 0) loads_.erase(found);
  }

  std::mutex mutex_;
  std::unordered_map<std::string, Load> loads_;
};

}  // namespace millrace::server_internal
