// libFuzzer target: any bytes parse or give an error, and every view that is handed out can be
// read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "gguf/gguf.h"

namespace {

void ReadAll(std::span<const std::byte> bytes) {
  volatile std::byte sink{};
  for (std::byte b : bytes) sink = b;
  static_cast<void>(sink);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto file = millrace::ParseGguf(bytes, "fuzz");
  if (!file.ok()) {
    if (file.error().message.empty()) std::abort();
    return 0;
  }
  for (const millrace::GgufTensor& tensor : file->tensors()) {
    ReadAll(tensor.data);
    if (file->FindTensor(tensor.name) != &tensor || tensor.elements() < 1) std::abort();
  }
  for (const auto& [key, value] : file->metadata()) {
    ReadAll(file->RawValue(key));
    static_cast<void>(file->FindInt(key, 0, 100).ok());
    static_cast<void>(file->FindFloat(key).ok());
    static_cast<void>(file->FindBool(key).ok());
    const auto text = file->FindString(key);
    if (text.ok()) ReadAll(std::as_bytes(std::span((*text)->data(), (*text)->size())));
    const auto words = file->FindStrings(key);
    if (!words.ok()) continue;
    for (std::string_view word : **words) ReadAll(std::as_bytes(std::span(word)));
  }
  return 0;
}
