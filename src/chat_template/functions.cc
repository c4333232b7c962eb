#include "chat_template/functions.h"

#include "chat_template/arguments.h"
#include "chat_template/failure.h"
#include "chat_template/interpreter.h"

namespace millrace::jinja {
namespace {

constexpr int64_t kMaxRange = 100000;  // jinja2/sandbox.py, MAX_RANGE

// The number of items from `start` below (or above) `stop`, without overflow.
uint64_t RangeLength(int64_t start, int64_t stop, int64_t step) {
  const auto distance = [](int64_t from, int64_t to) {
    return static_cast<uint64_t>(to) - static_cast<uint64_t>(from);
  };
  if (step > 0)
    return start >= stop ? 0 : (distance(start, stop) - 1) / static_cast<uint64_t>(step) + 1;
  const uint64_t stride = ~static_cast<uint64_t>(step) + 1;
  return start <= stop ? 0 : (distance(stop, start) - 1) / stride + 1;
}

Value Range(Interpreter& interpreter, const CallArguments& arguments) {
  if (!arguments.named.empty()) Fail("range() takes no keyword arguments");
  const BoundArguments bound("range", arguments, {"start", "stop", "step"}, 1);
  const int64_t start = bound.Has(1) ? AsIndex(bound[0]) : 0;
  const int64_t stop = AsIndex(bound[bound.Has(1) ? 1 : 0]);
  const int64_t step = bound.Int(2, 1);
  if (step == 0) Fail("range() arg 3 must not be zero");
  const uint64_t length = RangeLength(start, stop, step);
  if (length > static_cast<uint64_t>(kMaxRange)) {
    Fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (" +
         std::to_string(kMaxRange) + ").");
  }
  interpreter.budget().Elements(length);
  interpreter.budget().AllocateMany(length, sizeof(Value));
  std::vector<Value> items;
  items.reserve(length);
  for (uint64_t i = 0; i < length; ++i) {
    items.push_back(Value::Int(
        static_cast<int64_t>(static_cast<uint64_t>(start) + i * static_cast<uint64_t>(step))));
  }
  return Value::Range(start, stop, step, std::move(items));
}

// What dict() and namespace() take: a mapping or pairs, then keywords.
Dict DictFromArguments(Interpreter& interpreter, std::string_view callee,
                       const CallArguments& arguments) {
  if (arguments.positional.size() > 1) Fail(std::string(callee) + " expected at most 1 argument");
  Dict dict;
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is_dict()) {
      interpreter.budget().Elements(source.as_dict().size());
      dict = source.as_dict();
    } else {
      const auto pair_sequence = interpreter.Iterate(source);
      for (const Value& pair : pair_sequence->items) {
        interpreter.budget().Step();
        const auto parts = interpreter.Iterate(pair);
        if (parts->items.size() != 2)
          Fail("dictionary update sequence element is no pair of key and value");
        interpreter.SetKey(dict, parts->items[0], parts->items[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) dict.Set(name, value);
  return dict;
}

Value MakeDict(Interpreter& interpreter, const CallArguments& arguments) {
  return interpreter.MakeDict(DictFromArguments(interpreter, "dict", arguments));
}

Value MakeNamespace(Interpreter& interpreter, const CallArguments& arguments) {
  const Value attributes =
      interpreter.MakeDict(DictFromArguments(interpreter, "namespace", arguments));
  return interpreter.MakeObject(Object{NamespaceObject{attributes.as_dict()}});
}

Value MakeJoiner(Interpreter& interpreter, const CallArguments& arguments) {
  const BoundArguments bound("joiner", arguments, {"sep"});
  return interpreter.MakeObject(
      Object{JoinerObject{bound.Has(0) ? bound[0] : Value::String(", "), false}});
}

Value MakeCycler(Interpreter& interpreter, const CallArguments& arguments) {
  if (arguments.positional.empty()) Fail("at least one item has to be provided");
  return interpreter.MakeObject(Object{CyclerObject{arguments.positional, 0}});
}

Value RaiseException(Interpreter& interpreter, const CallArguments& arguments) {
  const BoundArguments bound("raise_exception", arguments, {"message"}, 1);
  throw Failure{interpreter.ToStr(bound[0]), ErrorKind::kInvalidArgument, true};
}

}  // namespace

BuiltinFunction FindBuiltin(std::string_view name) {
  if (name == "range") return Range;
  if (name == "dict") return MakeDict;
  if (name == "namespace") return MakeNamespace;
  if (name == "joiner") return MakeJoiner;
  if (name == "cycler") return MakeCycler;
  if (name == "raise_exception") return RaiseException;
  return nullptr;
}

}  // namespace millrace::jinja
