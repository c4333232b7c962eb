// ChatTemplate: a model's Jinja template, parsed once and rendered for each conversation.
//
// Invariant: rendering ends with a text or an Error whatever the template and the context;
// everything it does is charged to RenderLimits. Immutable: Render may run on many threads at once.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "chat_template/budget.h"
#include "chat_template/civil_time.h"
#include "chat_template/value.h"

namespace millrace {

namespace jinja {
struct Template;
}

// Of a template's source; the longest of known models has about 20 KB.
inline constexpr size_t kMaxTemplateBytes = size_t{1} << 20;

class ChatTemplate {
 public:
  // A syntax error names its line; a source beyond kMaxTemplateBytes is kTooLarge.
  static Result<ChatTemplate> Parse(std::string_view source);

  // `context` holds the template's variables (messages, tools, add_generation_prompt, bos_token,
  // ...); `now` is what strftime_now sees. What the template raises is an Error with the template's
  // own message.
  Result<std::string> Render(const jinja::Dict& context,
                             const std::optional<CivilTime>& now = std::nullopt,
                             const RenderLimits& limits = {}) const;

 private:
  explicit ChatTemplate(std::shared_ptr<const jinja::Template> parsed)
      : parsed_(std::move(parsed)) {}
  std::shared_ptr<const jinja::Template> parsed_;
};

}  // namespace millrace
