#include "chat_template/methods.h"

#include <algorithm>

#include "chat_template/arguments.h"
#include "chat_template/failure.h"
#include "chat_template/interpreter.h"

namespace millrace::jinja {
namespace {

// list and tuple.
Value SequenceIndex(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("index", arguments, {"value", "start", "stop"}, 1);
  const std::vector<Value>& items = self.as_sequence().items;
  const auto size = static_cast<int64_t>(items.size());
  const auto clamp = [size](int64_t at) {
    return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
  };
  interpreter.budget().Elements(items.size());
  const int64_t stop = clamp(bound.Int(2, size));
  for (int64_t i = clamp(bound.Int(1, 0)); i < stop; ++i) {
    if (Equal(items[static_cast<size_t>(i)], bound[0], &interpreter.budget())) return Value::Int(i);
  }
  Fail(Repr(bound[0], interpreter.budget()) + " is not in list");
}

Value SequenceCount(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("count", arguments, {"value"}, 1);
  int64_t count = 0;
  interpreter.budget().Elements(self.as_sequence().items.size());
  for (const Value& item : self.as_sequence().items) {
    if (Equal(item, bound[0], &interpreter.budget())) ++count;
  }
  return Value::Int(count);
}

Value CopySelf(Interpreter&, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("copy", arguments, {});
  return self;  // values never change, so the copy may be the original
}

// dict.
Value DictGet(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("get", arguments, {"key", "default"}, 1);
  CheckHashable(bound[0], interpreter.budget());
  const Value* found = self.as_dict().Find(bound[0]);
  if (found != nullptr) return *found;
  return bound.Has(1) ? bound[1] : Value::None();
}

Value DictItems(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("items", arguments, {});
  std::vector<Value> items;
  interpreter.budget().Elements(self.as_dict().size());
  items.reserve(self.as_dict().size());
  for (const auto& [key, value] : self.as_dict().entries())
    items.push_back(interpreter.MakeTuple({key, value}));
  return interpreter.MakeSequence(SequenceKind::kDictItems, std::move(items));
}

Value DictKeys(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("keys", arguments, {});
  std::vector<Value> items;
  interpreter.budget().AllocateMany(self.as_dict().size(), sizeof(Value));
  for (const auto& [key, value] : self.as_dict().entries()) items.push_back(key);
  return interpreter.MakeSequence(SequenceKind::kDictKeys, std::move(items));
}

Value DictValues(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("values", arguments, {});
  std::vector<Value> items;
  interpreter.budget().AllocateMany(self.as_dict().size(), sizeof(Value));
  for (const auto& [key, value] : self.as_dict().entries()) items.push_back(value);
  return interpreter.MakeSequence(SequenceKind::kDictValues, std::move(items));
}

// Jinja's own objects.
Value CyclerNext(Interpreter&, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("next", arguments, {});
  auto& cycler = std::get<CyclerObject>(self.as_object().data);
  const size_t at = cycler.position;
  cycler.position = (at + 1) % cycler.items.size();
  return cycler.items[at];
}

Value CyclerReset(Interpreter&, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("reset", arguments, {});
  std::get<CyclerObject>(self.as_object().data).position = 0;
  return Value::None();
}

Value LoopCycle(Interpreter&, const Value& self, const CallArguments& arguments) {
  if (arguments.positional.empty()) Fail("no items for cycling given");
  const auto& loop = std::get<LoopObject>(self.as_object().data);
  return arguments.positional[loop.index % arguments.positional.size()];
}

Value LoopChanged(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  return Value::Bool(interpreter.LoopChanged(self, arguments.positional));
}

constexpr MethodEntry kListMethods[] = {
    {"append", nullptr}, {"clear", nullptr},       {"copy", CopySelf},  {"count", SequenceCount},
    {"extend", nullptr}, {"index", SequenceIndex}, {"insert", nullptr}, {"pop", nullptr},
    {"remove", nullptr}, {"reverse", nullptr},     {"sort", nullptr},
};
constexpr MethodEntry kTupleMethods[] = {{"count", SequenceCount}, {"index", SequenceIndex}};
constexpr MethodEntry kDictMethods[] = {
    {"clear", nullptr},      {"copy", CopySelf},  {"fromkeys", nullptr},  {"get", DictGet},
    {"items", DictItems},    {"keys", DictKeys},  {"pop", nullptr},       {"popitem", nullptr},
    {"setdefault", nullptr}, {"update", nullptr}, {"values", DictValues},
};
constexpr MethodEntry kCyclerMethods[] = {{"next", CyclerNext}, {"reset", CyclerReset}};
constexpr MethodEntry kLoopMethods[] = {{"changed", LoopChanged}, {"cycle", LoopCycle}};

const MethodEntry* Find(std::span<const MethodEntry> table, std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const MethodEntry& e) { return e.name == name; });
  return found == table.end() ? nullptr : &*found;
}

}  // namespace

const MethodEntry* FindMethod(const Value& value, std::string_view name) {
  switch (value.type()) {
    case ValueType::kString:
      if (const MethodEntry* method = Find(StringMethods(), name)) return method;
      return Find(StringTestMethods(), name);
    case ValueType::kDict:
      return Find(kDictMethods, name);
    case ValueType::kSequence:
      switch (value.as_sequence().kind) {
        case SequenceKind::kList:
          return Find(kListMethods, name);
        case SequenceKind::kTuple:
        case SequenceKind::kRange:
        case SequenceKind::kGroup:
          return Find(kTupleMethods, name);
        default:
          return nullptr;
      }
    case ValueType::kObject:
      if (std::holds_alternative<LoopObject>(value.as_object().data))
        return Find(kLoopMethods, name);
      if (std::holds_alternative<CyclerObject>(value.as_object().data))
        return Find(kCyclerMethods, name);
      return nullptr;
    default:
      return nullptr;
  }
}

}  // namespace millrace::jinja
