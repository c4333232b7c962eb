// Filters that apply filters and tests to every item: map, select, reject and their attribute
// forms, groupby.
#include <algorithm>

#include "chat_template/arguments.h"
#include "chat_template/failure.h"
#include "chat_template/filters.h"
#include "chat_template/interpreter.h"
#include "chat_template/text.h"
#include "chat_template/value_ops.h"

namespace millrace::jinja {
namespace {

std::string NameArgument(const CallArguments& arguments, size_t index, std::string_view filter) {
  if (arguments.positional.size() <= index || !arguments.positional[index].is_string()) {
    Fail(std::string(filter) + " requires a name as argument");
  }
  return std::string(arguments.positional[index].as_string());
}

CallArguments Rest(const CallArguments& arguments, size_t first) {
  CallArguments rest;
  for (size_t i = first; i < arguments.positional.size(); ++i)
    rest.positional.push_back(arguments.positional[i]);
  rest.named = arguments.named;
  return rest;
}

Value MapByAttribute(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const Value *attribute = nullptr, *fallback = nullptr;
  for (const auto& [name, value] : arguments.named) {
    if (name == "attribute") {
      attribute = &value;
    } else if (name == "default") {
      fallback = &value;
    } else {
      Fail("Unexpected keyword argument '" + name + "'");
    }
  }
  if (attribute == nullptr) Fail("map requires a filter argument");
  std::vector<Value> out;
  const auto item_sequence = interpreter.Iterate(input);
  for (const Value& item : item_sequence->items) {
    interpreter.budget().Step();
    Value value = interpreter.GetPath(item, *attribute);
    if (value.is_undefined() && fallback != nullptr) value = *fallback;
    out.push_back(std::move(value));
  }
  return interpreter.MakeIterator(std::move(out));
}

Value Map(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  if (arguments.positional.empty()) return MapByAttribute(interpreter, input, arguments);
  const std::string name = NameArgument(arguments, 0, "map");
  const CallArguments rest = Rest(arguments, 1);
  std::vector<Value> out;
  const auto item_sequence = interpreter.Iterate(input);
  for (const Value& item : item_sequence->items) {
    out.push_back(interpreter.ApplyFilter(name, item, rest));
  }
  return interpreter.MakeIterator(std::move(out));
}

// select and reject; with kAttribute the first argument names what of the item is tested.
template <bool kKeep, bool kAttribute>
Value Choose(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  constexpr size_t kTest = kAttribute ? 1 : 0;
  if (kAttribute && arguments.positional.empty()) Fail("Missing parameter for attribute name");
  const bool has_test = arguments.positional.size() > kTest;
  const std::string test = has_test ? NameArgument(arguments, kTest, "select") : "";
  const CallArguments rest = Rest(arguments, kTest + 1);
  std::vector<Value> out;
  const auto item_sequence = interpreter.Iterate(input);
  for (const Value& item : item_sequence->items) {
    interpreter.budget().Step();
    const Value subject = kAttribute ? interpreter.GetPath(item, arguments.positional[0]) : item;
    const bool holds = has_test ? interpreter.ApplyTest(test, subject, rest) : Truthy(subject);
    if (holds == kKeep) out.push_back(item);
  }
  return interpreter.MakeIterator(std::move(out));
}

Value GroupBy(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  const auto key_of = [&](const Value& item) {
    Value value = interpreter.GetPath(item, bound[0]);
    return value.is_undefined() && bound.Has(1) ? bound[1] : value;
  };
  const auto folded = [&](const Value& key) {
    if (!bound.Bool(2, false) && key.is_string())
      return interpreter.MakeString(ToLower(key.as_string()));
    return key;
  };
  std::vector<std::pair<Value, Value>> keyed;  // key, item
  const auto sequence = interpreter.Iterate(input);
  for (const Value& item : sequence->items) keyed.emplace_back(key_of(item), item);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return Less(folded(a.first), folded(b.first), "<", interpreter.budget());
  });
  std::vector<Value> groups;
  for (size_t i = 0; i < keyed.size();) {
    std::vector<Value> members;
    const Value key = keyed[i].first, lower = folded(key);
    for (; i < keyed.size() && Equal(folded(keyed[i].first), lower, &interpreter.budget()); ++i) {
      members.push_back(keyed[i].second);
    }
    groups.push_back(interpreter.MakeSequence(SequenceKind::kGroup,
                                              {key, interpreter.MakeList(std::move(members))}));
  }
  return interpreter.MakeList(std::move(groups));
}

constexpr FilterEntry kSelectFilters[] = {
    {"map", Map},
    {"select", Choose<true, false>},
    {"reject", Choose<false, false>},
    {"selectattr", Choose<true, true>},
    {"rejectattr", Choose<false, true>},
    {"groupby", GroupBy},
};

}  // namespace

std::span<const FilterEntry> SelectFilters() { return kSelectFilters; }

}  // namespace millrace::jinja
