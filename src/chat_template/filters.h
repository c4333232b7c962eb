// The filters of Jinja and of transformers' chat templates, by name.
#pragma once

#include <span>
#include <string_view>

#include "chat_template/objects.h"

namespace millrace::jinja {

using FilterFunction = Value (*)(Interpreter&, const Value& input, const CallArguments&);

struct FilterEntry {
  std::string_view name;
  FilterFunction function;
};

// Null for an unknown name.
const FilterEntry* FindFilter(std::string_view name);

// The tables by theme; FindFilter looks through all of them.
std::span<const FilterEntry> StringFilters();    // filters_string.cc
std::span<const FilterEntry> TextFilters();      // filters_text.cc
std::span<const FilterEntry> SequenceFilters();  // filters_sequence.cc
std::span<const FilterEntry> SelectFilters();    // filters_select.cc
std::span<const FilterEntry> NumberFilters();    // filters_number.cc

}  // namespace millrace::jinja
