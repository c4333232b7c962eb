// libFuzzer target: a LoRA adapter with changes that the input lists, or any bytes as one (first
// byte 0): it is loaded for the model that it was made for, or an error names the file.
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/thread_pool.h"
#include "gguf/gguf.h"
#include "gguf/gguf_patches_for_fuzz.h"
#include "model/lora_adapter.h"
#include "model/transformer_config.h"
#include "model/transformer_weights.h"
#include "tests/tiny_adapter.h"
#include "tests/tiny_model.h"

namespace {

using namespace millrace;

struct Base {
  std::vector<std::byte> bytes = MakeTinyModel({.layers = 1, .ff_width = 256});
  GgufFile file = ParseGguf(bytes, "base").value();
  TransformerConfig config = ReadTransformerConfig(file).value();
  ThreadPool pool{1};
  TransformerWeights weights = LoadTransformerWeights(file, config, pool).value();
  std::vector<std::byte> adapter = MakeTinyAdapter(file, {.rank = 1, .only = {"attn_q", "ffn_up"}});
};

void LoadAdapter(const Base& base, std::span<const std::byte> bytes, ThreadPool& pool) {
  const auto file = ParseGguf(bytes, "adapter");
  if (!file.ok()) return;
  const auto adapter = LoraAdapter::Load(*file, 1.0f, base.config, base.weights, pool);
  CHECK(adapter.ok() || adapter.error().message.find("adapter") != std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Base base;
  if (size == 0) return 0;
  if (data[0] == 0) {
    LoadAdapter(base, {reinterpret_cast<const std::byte*>(data) + 1, size - 1}, base.pool);
  } else {
    LoadAdapter(base, PatchedFile(base.adapter, {data + 1, size - 1}), base.pool);
  }
  return 0;
}
