// The demo model and the one that drafts for it, built into the binary.
#pragma once

#include <cstddef>
#include <span>

namespace millrace {

std::span<const std::byte> EmbeddedTarget();  // a GGUF file; empty when built without
std::span<const std::byte> EmbeddedDraft();

}  // namespace millrace
