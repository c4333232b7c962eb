// For tests: a small GGUF file with every kind of metadata the writer has and three tensors, and a
// builder of raw bytes for files that the writer refuses to make.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "gguf/writer.h"

namespace millrace {

struct SampleData {
  std::vector<float> floats = {1, 2, 3, 4, 5, 6};
  std::vector<std::byte> quantised = std::vector<std::byte>(2 * 34, std::byte{7});
  std::vector<float> scalar = {0.5f};
};

// `data` must live until the writer has written.
inline GgufWriter SampleWriter(const SampleData& data) {
  GgufWriter writer;
  writer.AddString("general.architecture", "llama");
  writer.AddU32("llama.block_count", 2);
  writer.AddU64("big", uint64_t{1} << 40);
  writer.AddI32("negative", -5);
  writer.AddF32("epsilon", 0.25f);
  writer.AddBool("yes", true);
  const std::vector<std::string_view> words = {"a", "", "\xc4\xa0the", "d\xff"};
  writer.AddStrings("words", words);
  writer.AddI32s("types", std::vector<int32_t>{1, -1, 3});
  writer.AddF32s("scores", std::vector<float>{0.5f, -2.0f});
  writer.AddTensor("a.weight", DType::kF32, std::vector<int64_t>{3, 2},
                   std::as_bytes(std::span(data.floats)));
  writer.AddTensor("b.weight", DType::kQ8_0, std::vector<int64_t>{32, 1, 2}, data.quantised);
  writer.AddTensor("c", DType::kF32, std::vector<int64_t>{1},
                   std::as_bytes(std::span(data.scalar)));
  return writer;
}

class RawGguf {
 public:
  template <class T>
  RawGguf& Add(T value) {
    const auto* begin = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), begin, begin + sizeof(T));
    return *this;
  }
  RawGguf& Text(std::string_view text) {
    Add<uint64_t>(text.size());
    return Raw(text);
  }
  RawGguf& Raw(std::string_view text) {
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    bytes_.insert(bytes_.end(), begin, begin + text.size());
    return *this;
  }
  RawGguf& Head(uint64_t tensors, uint64_t entries, uint32_t version = 3) {
    return Raw("GGUF").Add<uint32_t>(version).Add<uint64_t>(tensors).Add<uint64_t>(entries);
  }
  RawGguf& Key(std::string_view key, uint32_t kind) { return Text(key).Add<uint32_t>(kind); }
  RawGguf& Tensor(std::string_view name, std::vector<uint64_t> shape, uint32_t type,
                  uint64_t offset) {
    Text(name).Add<uint32_t>(static_cast<uint32_t>(shape.size()));
    for (uint64_t size : shape) Add<uint64_t>(size);
    return Add<uint32_t>(type).Add<uint64_t>(offset);
  }
  RawGguf& Zeros(size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace millrace
