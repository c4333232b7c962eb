#include "embedded_model.h"

extern "C" {
extern const std::byte millrace_embedded_target_begin[];
extern const std::byte millrace_embedded_target_end[];
extern const char millrace_embedded_task_begin[];
extern const char millrace_embedded_task_end[];
extern const std::byte millrace_embedded_draft_begin[];
extern const std::byte millrace_embedded_draft_end[];
}

namespace millrace {

std::span<const std::byte> EmbeddedTarget() {
  return {millrace_embedded_target_begin, millrace_embedded_target_end};
}

std::string_view EmbeddedTask() {
  return {millrace_embedded_task_begin, millrace_embedded_task_end};
}

std::span<const std::byte> EmbeddedDraft() {
  return {millrace_embedded_draft_begin, millrace_embedded_draft_end};
}

}  // namespace millrace
