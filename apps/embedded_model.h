// The demo model, built into the binary.
#pragma once

#include <cstddef>
#include <span>

namespace millrace {

std::span<const std::byte> EmbeddedTarget();  // a GGUF file; empty when built without

}  // namespace millrace
