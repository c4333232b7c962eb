// BoundArguments: a call's arguments matched to parameter names, as Python does.
#pragma once

#include <array>
#include <initializer_list>
#include <string_view>

#include "chat_template/objects.h"

namespace millrace::jinja {

class BoundArguments {
 public:
  static constexpr size_t kMax = 6;

  // Throws when there are too many arguments, an unknown name, a name twice, or fewer than
  // `required`. `callee` names the function in messages.
  BoundArguments(std::string_view callee, const CallArguments& arguments,
                 std::initializer_list<std::string_view> names, size_t required = 0);

  bool Has(size_t index) const { return values_[index] != nullptr; }
  const Value& operator[](size_t index) const { return *values_[index]; }
  // The argument, or nothing when it is absent or none.
  const Value* Get(size_t index) const {
    return values_[index] == nullptr || values_[index]->is_none() ? nullptr : values_[index];
  }

  // Typed access; throws Python's complaint for another type.
  int64_t Int(size_t index, int64_t fallback) const;
  bool Bool(size_t index, bool fallback) const;
  std::string_view String(size_t index) const;

 private:
  std::string_view callee_;
  std::array<const Value*, kMax> values_{};
};

// An index or a count: int or bool. Throws for another type.
int64_t AsIndex(const Value& value);

}  // namespace millrace::jinja
