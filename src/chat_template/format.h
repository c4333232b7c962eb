// Python's string formatting: `%`, str.format and format specifications.
#pragma once

#include "chat_template/interpreter.h"

namespace millrace::jinja {

// template % values: a tuple, a mapping or one value.
Value FormatPercent(Interpreter& interpreter, const Value& format, const Value& values);
// "...{}...".format(...); attributes and items go through the sandbox.
Value FormatBraces(Interpreter& interpreter, std::string_view format,
                   const CallArguments& arguments);
// format(value, specification), after the mini-language of the Python library reference.
std::string FormatWithSpec(Interpreter& interpreter, const Value& value,
                           std::string_view specification);

// str.replace with its quirk for an empty `old`; a negative count means all.
std::string ReplaceText(Budget& budget, std::string_view text, std::string_view old_text,
                        std::string_view new_text, int64_t count);
// Pads to `width` code points with `fill`; align is '<', '>' or '^' (str.ljust, rjust, center).
std::string PadText(Budget& budget, std::string_view text, int64_t width, char align,
                    std::string_view fill);

}  // namespace millrace::jinja
