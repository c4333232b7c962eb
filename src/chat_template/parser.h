// Parser: tokens -> syntax tree, after jinja2/parser.py (3.1) with the extensions that transformers
// adds: break, continue and generation. Templates that load other templates (extends, include,
// import) are refused.
//
// Throws a Failure that names the line. Nesting is limited, so a hostile template cannot exhaust
// the stack.
#pragma once

#include <memory>
#include <string_view>

#include "chat_template/ast.h"

namespace millrace::jinja {

std::shared_ptr<const Template> ParseTemplate(std::string_view source);

}  // namespace millrace::jinja
