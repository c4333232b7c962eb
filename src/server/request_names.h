// RequestNames: which HTTP request an engine's request belongs to, for the debug endpoints. From
// any thread. Invariant: the latest kMost are kept; nothing where it is not enabled.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "base/id.h"

namespace millrace::server_internal {

class RequestNames {
 public:
  static constexpr size_t kMost = 4096;

  explicit RequestNames(bool enabled) : enabled_(enabled) {}

  void Add(RequestId id, std::string name) {
    if (!enabled_) return;
    const std::lock_guard lock(mutex_);
    names_[id] = std::move(name);
    if (names_.size() > kMost) names_.erase(names_.begin());  // ids grow
  }
  std::map<RequestId, std::string> All() const {
    const std::lock_guard lock(mutex_);
    return names_;
  }

 private:
  const bool enabled_;
  mutable std::mutex mutex_;
  std::map<RequestId, std::string> names_;
};

}  // namespace millrace::server_internal
