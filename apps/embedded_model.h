// The demo model, the one that drafts for it, and held-out questions, built into the binary.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace millrace {

std::span<const std::byte> EmbeddedTarget();  // a GGUF file; empty when built without
std::string_view EmbeddedTask();              // JSONL (lab/task.h): models/demo-task.jsonl
std::span<const std::byte> EmbeddedDraft();

}  // namespace millrace
