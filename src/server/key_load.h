// KeyLoad: how many generations each API key has under way, and the limit on that. From any thread.
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
        : load_(std::exchange(other.load_, nullptr)), key_(std::move(other.key_)) {}
    Ticket& operator=(Ticket&& other) noexcept {
      std::swap(load_, other.load_);
      std::swap(key_, other.key_);
      return *this;
    }
    ~Ticket() {
      if (load_ != nullptr) load_->Leave(key_);
    }

   private:
    friend class KeyLoad;
    Ticket(KeyLoad* load, std::string key) : load_(load), key_(std::move(key)) {}
    KeyLoad* load_;
    std::string key_;
  };

  // None where the key has `limit` under way already; 0: no limit.
  std::optional<Ticket> TryEnter(const std::string& key, int64_t limit) {
    const std::lock_guard lock(mutex_);
    int64_t& count = counts_[key];
    if (limit > 0 && count >= limit) return std::nullopt;
    ++count;
    return Ticket(this, key);
  }

 private:
  void Leave(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto found = counts_.find(key);
    if (--found->second == 0) counts_.erase(found);
  }

  std::mutex mutex_;
  std::unordered_map<std::string, int64_t> counts_;
};

}  // namespace millrace::server_internal
