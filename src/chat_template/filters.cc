#include "chat_template/filters.h"

namespace millrace::jinja {

const FilterEntry* FindFilter(std::string_view name) {
  for (const auto table :
       {StringFilters(), TextFilters(), SequenceFilters(), SelectFilters(), NumberFilters()}) {
    for (const FilterEntry& entry : table) {
      if (entry.name == name) return &entry;
    }
  }
  return nullptr;
}

}  // namespace millrace::jinja
