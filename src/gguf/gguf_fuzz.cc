// libFuzzer target: any bytes parse or give an error, and every view that is handed out can be
// read. An input that begins with 0xFF lists changes of a whole file; any other is the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "gguf/gguf.h"
#include "gguf/gguf_patches_for_fuzz.h"
#include "gguf/gguf_test_file.h"

namespace {

void ReadAll(std::span<const std::byte> bytes) {
  volatile std::byte sink{};
  for (std::byte b : bytes) sink = b;
  static_cast<void>(sink);
}

void ReadFile(std::span<const std::byte> bytes) {
  const auto file = millrace::ParseGguf(bytes, "fuzz");
  if (!file.ok()) {
    if (file.error().message.empty()) std::abort();
    return;
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
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<std::byte> whole = [] {
    const millrace::SampleData sample;
    return millrace::SampleWriter(sample).Serialize();
  }();
  if (size > 0 && data[0] == 0xff) {
    ReadFile(millrace::PatchedFile(whole, {data + 1, size - 1}));
  } else {
    ReadFile({reinterpret_cast<const std::byte*>(data), size});
  }
  return 0;
}
