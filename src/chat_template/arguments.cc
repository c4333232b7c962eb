#include "chat_template/arguments.h"

#include <algorithm>
#include <string>

#include "chat_template/failure.h"
#include "chat_template/value_ops.h"

namespace millrace::jinja {

BoundArguments::BoundArguments(std::string_view callee, const CallArguments& arguments,
                               std::initializer_list<std::string_view> names, size_t required)
    : callee_(callee) {
  const std::string function = std::string(callee) + "()";
  if (arguments.positional.size() > names.size()) {
    Fail(function + " takes at most " + std::to_string(names.size()) + " argument(s), " +
         std::to_string(arguments.positional.size()) + " given");
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto* found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) Fail(function + " got an unexpected keyword argument '" + name + "'");
    const auto index = static_cast<size_t>(found - names.begin());
    if (values_[index] != nullptr)
      Fail(function + " got multiple values for argument '" + name + "'");
    values_[index] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (values_[i] == nullptr) {
      Fail(function + " missing a required argument: '" + std::string(names.begin()[i]) + "'");
    }
  }
}

int64_t BoundArguments::Int(size_t index, int64_t fallback) const {
  return Has(index) ? AsIndex(*values_[index]) : fallback;
}

bool BoundArguments::Bool(size_t index, bool fallback) const {
  return Has(index) ? Truthy(*values_[index]) : fallback;
}

std::string_view BoundArguments::String(size_t index) const {
  const Value& value = *values_[index];
  RequireDefined(value);
  if (!value.is_string()) {
    Fail(std::string(callee_) + "() argument must be str, not " + std::string(TypeName(value)));
  }
  return value.as_string();
}

int64_t AsIndex(const Value& value) {
  RequireDefined(value);
  if (value.is_int()) return value.as_int();
  if (value.is_bool()) return value.as_bool() ? 1 : 0;
  Fail("'" + std::string(TypeName(value)) + "' object cannot be interpreted as an integer");
}

}  // namespace millrace::jinja
