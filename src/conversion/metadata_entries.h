// Collects GGUF metadata entries in the form in which ModelSource keeps them.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conversion/model_source.h"

namespace millrace {

class MetadataEntries {
 public:
  explicit MetadataEntries(std::vector<ModelSource::Entry>& entries) : entries_(entries) {}

  void AddU32(std::string key, int64_t value) {
    Begin(std::move(key), GgufKind::kU32);
    Put(static_cast<uint32_t>(value));
  }
  void AddF32(std::string key, double value) {
    Begin(std::move(key), GgufKind::kF32);
    Put(static_cast<float>(value));
  }
  void AddBool(std::string key, bool value) {
    Begin(std::move(key), GgufKind::kBool);
    Put(static_cast<uint8_t>(value));
  }
  void AddString(std::string key, std::string_view value) {
    Begin(std::move(key), GgufKind::kString);
    PutText(value);
  }
  void AddStrings(std::string key, std::span<const std::string> values) {
    BeginArray(std::move(key), GgufKind::kString, values.size());
    for (const std::string& v : values) PutText(v);
  }
  void AddI32s(std::string key, std::span<const int32_t> values) {
    BeginArray(std::move(key), GgufKind::kI32, values.size());
    for (const int32_t v : values) Put(v);
  }
  void AddF32s(std::string key, std::span<const float> values) {
    BeginArray(std::move(key), GgufKind::kF32, values.size());
    for (const float v : values) Put(v);
  }

 private:
  void Begin(std::string key, GgufKind kind) {
    entries_.push_back({std::move(key), {}});
    Put(static_cast<uint32_t>(kind));
  }
  void BeginArray(std::string key, GgufKind elements, size_t count) {
    Begin(std::move(key), GgufKind::kArray);
    Put(static_cast<uint32_t>(elements));
    Put(static_cast<uint64_t>(count));
  }
  template <class T>
  void Put(T value) {
    const auto* p = reinterpret_cast<const std::byte*>(&value);
    auto& to = entries_.back().kind_and_value;
    to.insert(to.end(), p, p + sizeof(T));
  }
  void PutText(std::string_view text) {
    Put(static_cast<uint64_t>(text.size()));
    const auto* p = reinterpret_cast<const std::byte*>(text.data());
    auto& to = entries_.back().kind_and_value;
    to.insert(to.end(), p, p + text.size());
  }

  std::vector<ModelSource::Entry>& entries_;
};

}  // namespace millrace
